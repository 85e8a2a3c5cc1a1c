//! The whole transition table, as a snapshot; close codes and close frames.

use super::*;

const STATES: [State; 8] = [
    State::Open,
    State::Asked,
    State::PeerHeld,
    State::FailHeld,
    State::EofHeld,
    State::Flushing,
    State::Draining,
    State::Done,
];
const INPUTS: [Input; 8] = [
    Input::Local,
    Input::Peer,
    Input::Violation,
    Input::Release,
    Input::Flushed,
    Input::Eof,
    Input::Timeout,
    Input::Lost,
];

fn table() -> String {
    let mut table = format!("{:9} {:9} -> {:9} {}\n", "state", "input", "state", "action");
    for state in STATES {
        table.push('\n');
        for input in INPUTS {
            let (next, action) = transition(state, input);
            let [from, by, to] = [format!("{state:?}"), format!("{input:?}"), format!("{next:?}")];
            let line = if (next, action) == (state, Action::None) {
                format!("{from:9} {by:9} -> -\n")
            } else {
                format!("{from:9} {by:9} -> {to:9} {action:?}\n")
            };
            table.push_str(&line);
        }
    }
    table
}

/// `UPDATE_SNAPSHOTS=1` writes the file anew: read the difference before it is committed.
#[test]
fn rfc6455_7_the_closing_handshake_is_the_committed_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/close-table.txt");
    let table = table();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &table).expect("the repository can be written");
    }
    let committed = std::fs::read_to_string(path).expect("the snapshot is committed");
    assert_eq!(table, committed, "see UPDATE_SNAPSHOTS in this test");
}

#[test]
fn every_state_but_open_ends_by_timeouts_alone() {
    for mut state in STATES {
        if state == State::Open {
            continue;
        }
        for _ in 0..2 {
            state = transition(state, Input::Timeout).0;
        }
        assert_eq!(state, State::Done);
    }
}

#[test]
fn what_is_done_stays_done_and_what_is_lost_is_done() {
    for input in INPUTS {
        assert_eq!(transition(State::Done, input), (State::Done, Action::None));
    }
    for state in STATES {
        assert_eq!(transition(state, Input::Lost).0, State::Done);
    }
}

#[test]
fn rfc6455_7_4_codes_that_may_be_sent() {
    let legal = |c: u16| {
        (1000..=1014).contains(&c) && ![1004, 1005, 1006].contains(&c) || (3000..5000).contains(&c)
    };
    for code in 0..=u16::MAX {
        assert_eq!(CloseCode::new(code).may_be_sent(), legal(code), "{code}");
        let payload = code.to_be_bytes();
        let want = if legal(code) {
            Ok(Some(CloseFrame { code: CloseCode(code), reason: Utf8Bytes::default() }))
        } else {
            Err(ProtocolError::CloseCode)
        };
        assert_eq!(CloseFrame::decode(&payload), want, "{code}");
    }
}

#[test]
fn a_close_frame_comes_back() {
    for reason in ["", "bye", "пока 👋"] {
        let frame = CloseFrame::new(CloseCode::GOING_AWAY, reason).expect("legal");
        assert_eq!(CloseFrame::decode(&frame.encode()), Ok(Some(frame)));
    }
    let long = "x".repeat(124);
    assert_eq!(CloseFrame::new(CloseCode::NORMAL, &*long), Err(UsageError::ControlTooLong));
    assert!(CloseFrame::new(CloseCode::NORMAL, &long[1..]).is_ok());
}

#[test]
fn rfc6455_7_1_5_the_code_of_an_outcome() {
    let closed = |received, sent| Closed { cause: Cause::Peer, received, sent, unsent: 0 };
    assert_eq!(closed(None, Some(None)).code(), CloseCode::ABNORMAL);
    assert_eq!(closed(Some(None), Some(None)).code(), CloseCode::NO_STATUS);
    assert!(closed(Some(None), Some(None)).is_clean());
    assert!(!closed(Some(None), None).is_clean());
    let frame = CloseFrame { code: CloseCode::POLICY, reason: Utf8Bytes::default() };
    assert_eq!(closed(Some(Some(frame)), None).code(), CloseCode::POLICY);
}
