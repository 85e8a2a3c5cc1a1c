use super::*;

/// What a receipt would say now.
fn peek(ticket: &Ticket) -> Option<Delivery> {
    match ticket.poll(Waker::noop()) {
        Poll::Ready(delivery) => Some(delivery),
        Poll::Pending => None,
    }
}

fn outbox(change: impl FnOnce(&mut OutboxLimits)) -> Outbox {
    let mut limits = OutboxLimits::default();
    change(&mut limits);
    Outbox::new(limits, false)
}

fn resending() -> Outbox {
    Outbox::new(OutboxLimits::default(), true)
}

/// Gives so many to a connection that numbers its marks from `first`.
fn feed(outbox: &mut Outbox, first: u64, n: u64) -> Vec<Message> {
    let mut given = Vec::new();
    for mark in first..first + n {
        outbox
            .feed(&mut |message| {
                given.push(message);
                Ok(mark)
            })
            .unwrap();
    }
    given
}

fn text(n: usize) -> Message {
    Message::text(n.to_string())
}

fn push(outbox: &mut Outbox, n: usize) -> Vec<Arc<Ticket>> {
    (0..n).map(|n| outbox.push(text(n))).collect()
}

#[test]
fn what_was_not_begun_goes_out_again_in_order_and_the_rest_is_in_doubt() {
    let mut o = outbox(|_| ());
    let tickets = push(&mut o, 5);
    assert_eq!(feed(&mut o, 10, 3), [text(0), text(1), text(2)]);
    o.lost(11);
    assert_eq!(peek(&tickets[0]), Some(Delivery::InDoubt(text(0))));
    assert!(tickets[1..].iter().all(|t| peek(t).is_none()));
    assert_eq!(feed(&mut o, 0, 9), [text(1), text(2), text(3), text(4)]);
    o.confirmed(tickets[4].number);
    assert!(tickets[1..].iter().all(|t| peek(t) == Some(Delivery::Sent)));
    assert!(o.is_settled() && o.bytes == 0);
}

#[test]
fn a_confirmation_reaches_as_far_as_it_was_asked_for() {
    let mut o = outbox(|_| ());
    let tickets = push(&mut o, 3);
    feed(&mut o, 0, 1);
    let upto = o.last_flying().unwrap();
    assert!(o.flushed(upto));
    feed(&mut o, 1, 2);
    o.confirmed(upto);
    assert_eq!(peek(&tickets[0]), Some(Delivery::Sent));
    assert_eq!(peek(&tickets[1]), None);
    o.end();
    assert_eq!(peek(&tickets[1]), Some(Delivery::InDoubt(text(1))));
}

#[test]
fn nobody_is_asked_when_nobody_wants_to_know() {
    let mut o = outbox(|_| ());
    let tickets = push(&mut o, 2);
    tickets.iter().for_each(|t| t.forget());
    feed(&mut o, 0, 2);
    assert!(!o.flushed(1));
    assert!(o.is_settled() && o.bytes == 0);
    // One who wants to know is enough.
    let tickets = push(&mut o, 2);
    tickets[0].forget();
    feed(&mut o, 2, 2);
    assert!(o.flushed(tickets[1].number) && !o.is_settled());
    // To send again what is in doubt, it must be known.
    let mut o = resending();
    push(&mut o, 1)[0].forget();
    feed(&mut o, 0, 1);
    assert!(o.flushed(0));
}

#[test]
fn what_is_sent_again_stays_in_doubt_until_it_is_confirmed() {
    let mut o = resending();
    let tickets = push(&mut o, 3);
    feed(&mut o, 0, 2);
    o.lost(1);
    assert!(tickets.iter().all(|t| peek(t).is_none()));
    assert_eq!(feed(&mut o, 0, 1), [text(0)]);
    // Of this connection nothing was handed over; of the one before, something was.
    o.lost(0);
    assert!(o.withdraw(tickets[0].number));
    assert_eq!(peek(&tickets[0]), Some(Delivery::InDoubt(text(0))));
    feed(&mut o, 0, 1);
    o.confirmed(tickets[1].number);
    o.end();
    assert_eq!(peek(&tickets[1]), Some(Delivery::Sent));
    assert_eq!(peek(&tickets[2]), Some(Delivery::NotSent(text(2))));
}

#[test]
fn the_end_gives_everything_back() {
    let mut o = outbox(|_| ());
    let tickets = push(&mut o, 3);
    feed(&mut o, 0, 1);
    o.end();
    assert_eq!(peek(&tickets[0]), Some(Delivery::InDoubt(text(0))));
    assert_eq!(peek(&tickets[1]), Some(Delivery::NotSent(text(1))));
    assert_eq!(peek(&tickets[2]).unwrap().into_message(), Some(text(2)));
    assert!(o.is_settled() && o.bytes == 0);
}

#[test]
fn a_message_can_be_withdrawn_until_a_connection_has_it() {
    let mut o = outbox(|_| ());
    let tickets = push(&mut o, 3);
    feed(&mut o, 0, 1);
    assert!(!o.withdraw(tickets[0].number));
    assert!(o.withdraw(tickets[1].number) && !o.withdraw(tickets[1].number));
    assert_eq!(peek(&tickets[1]), Some(Delivery::NotSent(text(1))));
    assert_eq!(feed(&mut o, 1, 2), [text(2)]);
    assert_eq!(o.bytes, 2);
}

#[test]
fn room_is_counted_in_messages_and_in_bytes() {
    let mut o = outbox(|l| l.messages = 2);
    push(&mut o, 1);
    assert!(o.has_room());
    push(&mut o, 1);
    assert!(!o.has_room());
    // Those that a connection has count, too.
    feed(&mut o, 0, 1);
    assert!(!o.has_room());
    o.confirmed(0);
    assert!(o.has_room());

    let mut o = outbox(|l| l.bytes = 10);
    o.push(Message::binary(vec![0; 9]));
    assert!(o.has_room(), "and one message");
    o.push(Message::binary(vec![0; 100]));
    assert!(!o.has_room());
}

#[test]
fn the_oldest_that_wait_make_room() {
    let mut o = outbox(|l| (l.messages, l.when_full) = (3, WhenFull::DropOldest));
    let tickets = push(&mut o, 3);
    feed(&mut o, 0, 1);
    assert!(o.make_room());
    assert_eq!(peek(&tickets[1]), Some(Delivery::NotSent(text(1))));
    assert!(peek(&tickets[0]).is_none() && peek(&tickets[2]).is_none());
    push(&mut o, 1);
    feed(&mut o, 1, 2);
    assert!(!o.make_room(), "a connection has them all");
}

#[test]
fn a_connection_that_takes_nothing_changes_nothing() {
    let mut o = outbox(|_| ());
    push(&mut o, 1);
    assert!(o.feed(&mut |_| Err(Error::new(Kind::Closed))).is_err());
    assert!(o.has_waiting() && o.last_flying().is_none());
}

#[test]
fn an_outbox_of_nothing_is_refused() {
    for (messages, bytes) in [(0, 1), (1, 0)] {
        let limits = OutboxLimits { messages, bytes, when_full: WhenFull::Wait };
        assert!(limits.check().is_err_and(|e| e.is_usage()));
    }
}
