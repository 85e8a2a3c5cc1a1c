//! `provod serve`: members who speak the room protocol, beside plain clients.

use serde_json::{Value, json};

use crate::peer::{Peer, binary, close, open_with, soon, text};
use crate::process::Provod;

const OFFER: &str = "Sec-WebSocket-Protocol: provod.room.v1";

/// A client of the room protocol.
struct Member {
    peer: Peer,
}

impl Member {
    /// One that has not said hello.
    async fn connect(server: &Provod, target: &str) -> Self {
        let (peer, answer) = open_with(server.address, target, &[OFFER]).await;
        assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some("provod.room.v1"));
        Self { peer }
    }

    /// One that is in the room; and its welcome.
    async fn enter(server: &Provod, target: &str, name: &str) -> (Self, Value) {
        Self::enter_with(server, target, json!({ "type": "hello", "name": name })).await
    }

    async fn enter_with(server: &Provod, target: &str, hello: Value) -> (Self, Value) {
        let mut member = Self::connect(server, target).await;
        member.send(hello).await;
        let welcome = member.next().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        (member, welcome)
    }

    async fn send(&mut self, message: Value) {
        self.peer.send(text(&message.to_string())).await;
    }

    async fn say(&mut self, id: &str, text: &str) {
        self.send(json!({ "type": "say", "id": id, "text": text })).await;
    }

    async fn next(&mut self) -> Value {
        let frame = self.peer.frame().await.expect("a message");
        serde_json::from_str(frame.text()).expect("JSON")
    }

    /// The next message, which has this type.
    #[track_caller]
    fn expect<'a>(&'a mut self, kind: &'a str) -> impl Future<Output = Value> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let message = self.next().await;
            assert_eq!(message["type"], kind, "{place}: {message}");
            message
        }
    }

    /// The next message, which says this.
    #[track_caller]
    fn expect_text<'a>(&'a mut self, text: &'a str) -> impl Future<Output = Value> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let message = self.next().await;
            assert_eq!(
                (&message["type"], &message["text"]),
                (&json!("message"), &json!(text)),
                "{place}: {message}"
            );
            message
        }
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|m| m["name"].as_str().expect("a name")).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|m| m["text"].as_str().expect("a text")).collect()
}

#[tokio::test]
async fn a_member_hears_who_is_here_who_comes_and_who_goes() {
    let server = Provod::serve(&[]);
    let (mut anna, welcome) = Member::enter(&server, "/%D1%87%D0%B0%D1%82", "  Аня ").await;
    assert_eq!(welcome["room"], "чат");
    assert_eq!(
        (&welcome["seq"], &welcome["count"], &welcome["plain"]),
        (&json!(0), &json!(1), &json!(0))
    );
    assert_eq!(welcome["history"], json!([]));
    let limits = json!({ "name": 40, "text": 4000, "rate": 10, "burst": 30 });
    assert_eq!(welcome["limits"], limits);
    assert!(welcome["time"].as_u64().expect("a time") > 1_700_000_000_000);
    let me = json!([{ "id": welcome["you"], "name": "Аня" }]);
    assert_eq!(welcome["members"], me);

    let (boris, welcome) = Member::enter(&server, "/%D1%87%D0%B0%D1%82", "Борис").await;
    assert_eq!(names(&welcome["members"]), ["Аня", "Борис"]);
    let member = json!({ "id": welcome["you"], "name": "Борис" });
    let joined = json!({ "type": "joined", "member": member, "count": 2, "plain": 0 });
    assert_eq!(anna.next().await, joined);

    // No Close: the connection just ends, as when a process is killed.
    drop(boris);
    let left = json!({ "type": "left", "member": member, "count": 1, "plain": 0 });
    assert_eq!(anna.next().await, left);

    let (mut vera, _) = Member::enter(&server, "/%D1%87%D0%B0%D1%82", "Вера").await;
    anna.expect("joined").await;
    vera.peer.send(close(1000)).await;
    anna.expect("left").await;
}

#[tokio::test]
async fn members_and_plain_clients_hear_each_other() {
    let server = Provod::serve(&[]);
    let mut plain = server.join("/r").await;
    server.until_counter("open", |n| n == 1).await;
    let (mut anna, welcome) = Member::enter(&server, "/r", "Аня").await;
    assert_eq!(welcome["plain"], 1);
    let (mut boris, _) = Member::enter(&server, "/r", "Борис").await;
    anna.expect("joined").await;

    anna.say("a-1", "Привет <b>всем</b>\n").await;
    let mine = anna.expect_text("Привет <b>всем</b>\n").await;
    assert_eq!(
        (&mine["id"], &mine["from"], &mine["name"], &mine["seq"]),
        (&json!("a-1"), &welcome["you"], &json!("Аня"), &json!(1))
    );
    assert_eq!(boris.next().await, mine);
    plain.expect_text("Привет <b>всем</b>\n").await;

    plain.send(text("{\"type\":\"say\"}")).await;
    plain.expect_text("{\"type\":\"say\"}").await;
    let theirs = anna.expect_text("{\"type\":\"say\"}").await;
    assert_eq!((theirs.get("from"), theirs.get("name")), (None, None));
    assert_eq!(theirs["seq"], 2);
    assert!(!theirs["id"].as_str().expect("an id").is_empty());
    assert_eq!(boris.next().await, theirs);

    anna.peer.send(binary(b"\0\xff")).await;
    for peer in [&mut anna.peer, &mut boris.peer, &mut plain] {
        assert_eq!(peer.frame().await.expect("binary").payload, b"\0\xff");
    }
    plain.send(binary(b"p")).await;
    for peer in [&mut anna.peer, &mut boris.peer, &mut plain] {
        assert_eq!(peer.frame().await.expect("binary").payload, b"p");
    }
    plain.bye().await;
    assert_eq!(anna.next().await, json!({ "type": "members", "count": 2, "plain": 0 }));
}

#[tokio::test]
async fn with_echo_0_a_member_hears_its_own_words_and_not_its_bytes() {
    let server = Provod::serve(&[]);
    let (mut anna, _) = Member::enter(&server, "/r?echo=0", "Аня").await;
    anna.peer.send(binary(b"x")).await;
    anna.say("a-1", "after").await;
    anna.expect_text("after").await;
}

#[tokio::test]
async fn all_hear_one_order_with_numbers() {
    let server = Provod::serve(&["--workers=2", "--rate-limit=0"]);
    let mut plain = [server.join("/r").await, server.join("/r").await];
    server.until_counter("open", |n| n == 2).await;
    let (mut anna, _) = Member::enter(&server, "/r", "Аня").await;
    let (mut boris, _) = Member::enter(&server, "/r", "Борис").await;
    anna.expect("joined").await;
    for n in 0..100 {
        anna.say(&format!("a-{n}"), &format!("a {n}")).await;
        boris.say(&format!("b-{n}"), &format!("b {n}")).await;
        plain[0].send(text(&format!("p {n}"))).await;
    }
    let mut heard = Vec::new();
    for n in 1..=300 {
        let message = anna.expect("message").await;
        assert_eq!(message["seq"], n);
        assert_eq!(boris.next().await, message);
        heard.push(message["text"].as_str().expect("a text").to_owned());
    }
    for peer in &mut plain {
        for text in &heard {
            peer.expect_text(text).await;
        }
    }
}

#[tokio::test]
async fn the_last_messages_are_given_to_those_who_come() {
    let server = Provod::serve(&["--history=3"]);
    let (mut anna, first) = Member::enter(&server, "/r", "Аня").await;
    for n in 1..=3 {
        anna.say(&format!("a-{n}"), &format!("{n}")).await;
        anna.expect("message").await;
    }
    drop(anna);
    // A room outlives its last client.
    server.until_counter("open", |n| n == 0).await;
    let mut plain = server.join("/r").await;
    plain.send(text("4")).await;
    // A plain client gets nothing that was said before.
    plain.expect_text("4").await;
    let (_, welcome) = Member::enter(&server, "/r", "Борис").await;
    assert_eq!(texts(&welcome["history"]), ["2", "3", "4"]);
    assert_eq!((&welcome["seq"], &welcome["epoch"]), (&json!(4), &first["epoch"]));
    let history = welcome["history"].as_array().expect("a list");
    assert_eq!(
        (&history[0]["id"], &history[0]["name"], &history[0]["from"]),
        (&json!("a-2"), &json!("Аня"), &first["you"])
    );
    assert_eq!((&history[2]["seq"], history[2].get("from")), (&json!(4), None));
    let (_, elsewhere) = Member::enter(&server, "/other", "Вера").await;
    assert_eq!(elsewhere["history"], json!([]));
    assert_ne!(elsewhere["epoch"], first["epoch"]);
}

#[tokio::test]
async fn without_history_nothing_is_given_and_nothing_is_heard_twice() {
    let server = Provod::serve(&["--history=0"]);
    let (mut anna, _) = Member::enter(&server, "/r", "Аня").await;
    for _ in 0..2 {
        anna.say("a-1", "once").await;
        assert_eq!(anna.expect_text("once").await["seq"], 1);
    }
    let (_, welcome) = Member::enter(&server, "/r", "Борис").await;
    assert_eq!((&welcome["history"], &welcome["seq"]), (&json!([]), &json!(1)));
}

#[tokio::test]
async fn what_is_said_again_is_told_to_the_speaker_alone() {
    let server = Provod::serve(&[]);
    let (mut anna, _) = Member::enter(&server, "/r", "Аня").await;
    let (mut boris, _) = Member::enter(&server, "/r", "Борис").await;
    let mut plain = server.join("/r").await;
    anna.expect("joined").await;
    anna.say("a-1", "once").await;
    let first = anna.expect_text("once").await;
    drop(anna);
    boris.expect_text("once").await;
    // On another connection, with another name among the members.
    let (mut anna, _) = Member::enter(&server, "/r", "Аня").await;
    anna.say("a-1", "once").await;
    let again = anna.next().await;
    assert_eq!(
        (&again["id"], &again["seq"], &again["time"]),
        (&first["id"], &first["seq"], &first["time"])
    );
    anna.say("a-2", "twice").await;
    anna.expect_text("twice").await;
    plain.expect_text("once").await;
    plain.expect_text("twice").await;
    let mut heard = Vec::new();
    while heard.last().is_none_or(|m: &Value| m["text"] != "twice") {
        heard.push(boris.next().await);
    }
    assert!(heard.iter().all(|m| m["text"] != "once"), "{heard:?}");
}

#[tokio::test]
async fn an_id_is_no_way_to_silence_somebody_else() {
    let server = Provod::serve(&[]);
    let (mut anna, _) = Member::enter(&server, "/r", "Аня").await;
    let (mut boris, _) = Member::enter(&server, "/r", "Борис").await;
    anna.expect("joined").await;
    boris.say("a-1", "squatting").await;
    anna.expect_text("squatting").await;
    boris.expect_text("squatting").await;
    anna.say("a-1", "important").await;
    let error = anna.expect("error").await;
    assert_eq!((&error["code"], &error["id"]), (&json!("bad_field"), &json!("a-1")));
    anna.say("a-2", "important").await;
    boris.expect_text("important").await;
}

#[tokio::test]
async fn members_are_given_no_longer_texts_than_they_may_say() {
    let server = Provod::serve(&[]);
    let mut plain = server.join("/r").await;
    server.until_counter("open", |n| n == 1).await;
    let (mut anna, _) = Member::enter(&server, "/r", "Аня").await;
    for (len, cut) in [(4000, None), (4001, Some(&json!(true))), (100_000, Some(&json!(true)))] {
        plain.send(text(&"ы".repeat(len))).await;
        assert!(plain.message().await.text() == "ы".repeat(len));
        let message = anna.expect("message").await;
        assert_eq!(message["text"].as_str().map(|text| text.chars().count()), Some(4000));
        assert_eq!(message.get("cut"), cut);
    }
    let (_, welcome) = Member::enter(&server, "/r", "Борис").await;
    assert_eq!(welcome["history"].as_array().map(Vec::len), Some(3));
    assert_eq!(welcome["history"][2]["cut"], true);
}

#[tokio::test]
async fn a_large_message_makes_nobody_slow() {
    let server = Provod::serve(&[]);
    let (mut large, mut chatty) = (server.join("/r?echo=0").await, server.join("/r?echo=0").await);
    let (mut anna, _) = Member::enter(&server, "/r", "Аня").await;
    let mut plain = server.join("/r").await;
    server.until_counter("open", |n| n == 4).await;
    large.send(binary(&vec![7; 15 << 20])).await;
    server.until_counter("messages_in", |n| n >= 2).await;
    for n in 0..100 {
        chatty.send(text(&format!("{n}"))).await;
    }
    // They read slowly, and have not begun when the next ones come.
    server.until_counter("messages_in", |n| n >= 3).await;
    assert!(plain.message().await.payload == vec![7; 15 << 20]);
    for n in 0..100 {
        plain.expect_text(&format!("{n}")).await;
    }
    let mut heard = 0;
    while heard <= 100 {
        let message = anna.peer.message().await;
        if message.opcode == 2 {
            assert_eq!(heard, 0);
            assert!(message.payload == vec![7; 15 << 20]);
            heard += 1;
            continue;
        }
        let said: Value = serde_json::from_str(message.text()).expect("JSON");
        // How many are here may be told at any time.
        if said["type"] != "members" {
            assert_eq!(said["text"], (heard - 1).to_string());
            heard += 1;
        }
    }
}

#[tokio::test]
async fn a_client_that_comes_back_takes_its_place() {
    let server = Provod::serve(&[]);
    let (mut boris, _) = Member::enter(&server, "/r", "Борис").await;
    let hello = |name| json!({ "type": "hello", "name": name, "client": "0123456789abcdef" });
    let (mut old, first) = Member::enter_with(&server, "/r", hello("Аня")).await;
    boris.expect("joined").await;
    let (mut new, second) = Member::enter_with(&server, "/r", hello("Аня")).await;
    assert_eq!(second["you"], first["you"]);
    assert_eq!(names(&second["members"]), ["Борис", "Аня"]);
    assert!(!second.to_string().contains("0123456789abcdef"), "the secret is told to nobody");
    // The old one is told why it ends, and is not heard any more.
    old.say("a-1", "from the old connection").await;
    old.peer.expect_close(4000).await;
    old.peer.send(close(4000)).await;
    drop(old);
    new.say("a-2", "from the new one").await;
    new.expect_text("from the new one").await;
    assert_eq!(boris.expect_text("from the new one").await["from"], first["you"]);

    let (third, _) = Member::enter_with(&server, "/r", hello("Анна")).await;
    let renamed = json!({ "type": "renamed", "was": "Аня",
        "member": { "id": first["you"], "name": "Анна" } });
    assert_eq!(boris.next().await, renamed);
    // The same secret elsewhere is another member.
    let (_, elsewhere) = Member::enter_with(&server, "/elsewhere", hello("Аня")).await;
    assert_eq!(names(&elsewhere["members"]), ["Аня"]);
    drop(third);
    assert_eq!(boris.expect("left").await["member"]["name"], "Анна");
}

#[tokio::test]
async fn a_hello_that_comes_late_replaces_no_later_connection() {
    let server = Provod::serve(&[]);
    let hello = |attempt| {
        let client = "0123456789abcdef";
        json!({ "type": "hello", "name": "Аня", "client": client, "attempt": attempt })
    };
    let mut late = Member::connect(&server, "/r").await;
    let (mut current, _) = Member::enter_with(&server, "/r", hello(2)).await;
    late.send(hello(1)).await;
    late.peer.expect_close(4000).await;
    current.say("a-1", "still here").await;
    current.expect_text("still here").await;
    let (_, welcome) = Member::enter_with(&server, "/r", hello(3)).await;
    assert_eq!(names(&welcome["members"]), ["Аня"]);
    current.peer.expect_close(4000).await;
}

#[tokio::test]
async fn a_mistake_is_answered_and_the_connection_goes_on() {
    let server = Provod::serve(&["--rate-limit=0"]);
    let mut anna = Member::connect(&server, "/r").await;
    let long = "я".repeat(4001);
    let before = [
        ("say", json!({ "type": "say", "id": "s", "text": "x" }), "hello_first", Some("s")),
        ("ping", json!({ "type": "ping" }), "hello_first", None),
        ("no name", json!({ "type": "hello" }), "bad_field", None),
        ("a number", json!({ "type": "hello", "name": 7 }), "bad_field", None),
        ("no letters", json!({ "type": "hello", "name": " \u{200b} " }), "bad_name", None),
        ("long", json!({ "type": "hello", "name": "я".repeat(41) }), "bad_name", None),
        ("two lines", json!({ "type": "hello", "name": "a\nb" }), "bad_name", None),
        ("turned", json!({ "type": "hello", "name": "a\u{202e}b" }), "bad_name", None),
        ("secret", json!({ "type": "hello", "name": "a", "client": "short" }), "bad_field", None),
        ("attempt", json!({ "type": "hello", "name": "a", "attempt": -1 }), "bad_field", None),
    ];
    let after = [
        ("hello", json!({ "type": "hello", "name": "Аня" }), "already_joined", None),
        ("empty", json!({ "type": "say", "id": "e", "text": "" }), "bad_field", Some("e")),
        ("missing", json!({ "type": "say", "id": "m" }), "bad_field", Some("m")),
        ("list", json!({ "type": "say", "id": "l", "text": ["x"] }), "bad_field", Some("l")),
        ("long", json!({ "type": "say", "id": "t", "text": long }), "too_long", Some("t")),
        ("id", json!({ "type": "say", "id": "", "text": "x" }), "bad_field", None),
        ("long id", json!({ "type": "say", "id": "x".repeat(65), "text": "x" }), "bad_field", None),
        ("spaces", json!({ "type": "say", "id": "a b", "text": "x" }), "bad_field", None),
        ("the server's", json!({ "type": "say", "id": "a.1", "text": "x" }), "bad_field", None),
        ("type", json!({ "type": "shout", "id": "u", "text": "x" }), "unknown_type", Some("u")),
        ("no type", json!({ "id": "n" }), "bad_field", Some("n")),
        ("number", json!({ "type": 1 }), "bad_field", None),
    ];
    for (n, (what, message, code, id)) in before.into_iter().chain(after).enumerate() {
        if n == 10 {
            anna.peer.send(binary(b"x")).await;
            assert_eq!(anna.expect("error").await["code"], "hello_first");
            anna.send(json!({ "type": "hello", "name": "Аня", "future": { "field": 1 } })).await;
            anna.expect("welcome").await;
        }
        anna.send(message).await;
        let error = anna.expect("error").await;
        assert_eq!(
            (&error["code"], error.get("id").and_then(Value::as_str)),
            (&json!(code), id),
            "{what}: {error}"
        );
        assert!(error["message"].as_str().expect("words").len() > 10, "{error}");
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000));
    for (bad, code) in [
        ("", "bad_json"),
        ("x", "bad_json"),
        ("null", "bad_json"),
        ("{", "bad_json"),
        ("[\"hello\",null,\"Аня\"]", "bad_json"),
        ("{\"type\":\"ping\",\"type\":\"typing\"}", "bad_json"),
        (&*format!("{{\"id\":{}", "[".repeat(30_000)), "bad_json"),
        // What is not known is not looked at, however deep it is.
        (&*deep, "bad_field"),
    ] {
        anna.peer.send(text(bad)).await;
        let error = anna.expect("error").await;
        assert_eq!(error["code"], code, "{error}");
    }
    // The id is found wherever it can be read, so that the client knows which of its messages it was.
    let padded = format!("{{\"type\":\"say\",\"id\":\"p\",\"x\":\"{}\"}}", "x".repeat(70_000));
    for (bad, code, id) in [
        ("{\"type\":\"say\",\"id\":\"h\",\"text\":\"half \\ud83d\"}", "bad_field", "h"),
        ("{\"type\":\"say\",\"id\":\"n\",\"text\":1e999}", "bad_field", "n"),
        ("{\"type\":[[[]]],\"id\":\"t\",\"text\":\"x\"}", "bad_field", "t"),
        (&*padded, "too_long", "p"),
    ] {
        anna.peer.send(text(bad)).await;
        let error = anna.expect("error").await;
        assert_eq!((&error["code"], &error["id"]), (&json!(code), &json!(id)), "{error}");
    }
    // The longest that is allowed, in characters of four bytes and all escaped.
    let escaped = "\\ud83e\\udd8a".repeat(4000);
    anna.peer.send(text(&format!("{{\"type\":\"say\",\"text\":\"{escaped}\"}}"))).await;
    anna.expect_text(&"🦊".repeat(4000)).await;
    anna.send(json!({ "type": "ping", "id": "17" })).await;
    let pong = anna.expect("pong").await;
    assert_eq!(pong["id"], "17");
    assert!(pong["time"].is_u64());
}

#[tokio::test]
async fn names_change_and_need_not_be_unique() {
    let server = Provod::serve(&[]);
    let (mut anna, me) = Member::enter(&server, "/r", "Аня").await;
    let (mut other, _) = Member::enter(&server, "/r", "Аня").await;
    anna.expect("joined").await;
    anna.send(json!({ "type": "rename", "name": " 👩‍🚀 Анна" })).await;
    let renamed = json!({ "type": "renamed", "was": "Аня",
        "member": { "id": me["you"], "name": "👩‍🚀 Анна" } });
    assert_eq!(anna.next().await, renamed);
    assert_eq!(other.next().await, renamed);
    anna.say("a-1", "x").await;
    assert_eq!(other.expect_text("x").await["name"], "👩‍🚀 Анна");
}

#[tokio::test]
async fn a_rate_above_the_limit_is_refused_with_a_time_to_wait() {
    let server = Provod::serve(&["--rate-limit=1"]);
    let (mut anna, welcome) = Member::enter(&server, "/r", "Аня").await;
    assert_eq!((&welcome["limits"]["rate"], &welcome["limits"]["burst"]), (&json!(1), &json!(3)));
    let mut plain = server.join("/r").await;
    server.until_counter("open", |n| n == 2).await;
    // Hello was the first of the three.
    for n in 2..=4 {
        anna.say(&format!("a-{n}"), &format!("{n}")).await;
    }
    anna.expect_text("2").await;
    anna.expect_text("3").await;
    let mut error = anna.next().await;
    if error["type"] == "members" {
        error = anna.next().await;
    }
    assert_eq!((&error["code"], &error["id"]), (&json!("rate"), &json!("a-4")));
    let wait = error["retry_after"].as_u64().expect("a time");
    assert!((1..=1000).contains(&wait), "{error}");
    // It was told to nobody. Plain clients have no such limit.
    plain.expect_text("2").await;
    plain.expect_text("3").await;
    plain.send((0..100).flat_map(|n| text(&format!("p {n}"))).collect::<Vec<u8>>()).await;
    for n in 0..100 {
        plain.expect_text(&format!("p {n}")).await;
    }
}

#[tokio::test]
async fn typing_is_told_to_the_others_and_not_often() {
    let server = Provod::serve(&[]);
    let (mut anna, me) = Member::enter(&server, "/r", "Аня").await;
    let (mut boris, _) = Member::enter(&server, "/r", "Борис").await;
    anna.expect("joined").await;
    for _ in 0..3 {
        anna.send(json!({ "type": "typing" })).await;
    }
    anna.say("a-1", "done").await;
    anna.expect_text("done").await;
    let typing = json!({ "type": "typing", "from": me["you"], "name": "Аня" });
    assert_eq!(boris.next().await, typing);
    boris.expect_text("done").await;
}

#[tokio::test]
async fn a_crowd_is_counted_and_not_listed() {
    let server = Provod::serve(&["--history=0"]);
    let (mut first, _) = Member::enter(&server, "/r", "0").await;
    let mut crowd = Vec::new();
    for n in 1..200 {
        crowd.push(Member::enter(&server, "/r", &n.to_string()).await.0);
        assert_eq!(first.expect("joined").await["count"], n + 1);
    }
    let (mut one_more, welcome) = Member::enter(&server, "/r", "200").await;
    assert_eq!((&welcome["members"], &welcome["count"]), (&Value::Null, &json!(201)));
    let unknown = json!({ "type": "members", "members": null, "count": 201, "plain": 0 });
    assert_eq!(first.next().await, unknown);
    // Nobody is told of names and typing, but of what is said.
    one_more.send(json!({ "type": "rename", "name": "the last" })).await;
    assert_eq!(one_more.expect("renamed").await["member"]["name"], "the last");
    one_more.send(json!({ "type": "typing" })).await;
    one_more.say("o-1", "hello all").await;
    first.expect_text("hello all").await;
    drop(one_more);
    let counted = json!({ "type": "members", "count": 200, "plain": 0 });
    assert_eq!(first.next().await, counted);
    crowd.drain(..49);
    while first.next().await["count"] != 151 {}
    drop(crowd.pop());
    let mut list = first.next().await;
    // The number may have been gathered just before.
    while list.get("members").is_none() {
        list = first.next().await;
    }
    assert_eq!(
        (list["members"].as_array().map(Vec::len), &list["count"]),
        (Some(150), &json!(150))
    );
    drop(crowd.pop());
    first.expect("left").await;
}

#[tokio::test]
async fn a_member_that_never_reads_is_closed_with_1013() {
    let server = Provod::serve(&["--rate-limit=0", "--close-timeout=100ms"]);
    let (mut anna, _) = Member::enter(&server, "/r?echo=0", "Аня").await;
    let mut deaf = Peer::connect_narrow(server.address).await;
    deaf.upgrade("/r", &[OFFER]).await;
    deaf.send(text(&json!({ "type": "hello", "name": "глухой" }).to_string())).await;
    anna.expect("joined").await;
    // At some point the server gives it up, and goes on.
    soon(async {
        loop {
            anna.peer.send(binary(&[7; 1 << 20])).await;
            anna.send(json!({ "type": "ping" })).await;
            let message = anna.next().await;
            if message["type"] == "left" {
                break;
            }
            assert_eq!(message["type"], "pong");
        }
    })
    .await;
    anna.expect("pong").await;
    server.until_counter("open", |n| n == 1).await;
}

#[tokio::test]
async fn other_subprotocols_are_not_agreed() {
    let server = Provod::serve(&[]);
    let offer = "Sec-WebSocket-Protocol: chat, provod.room.v2";
    let (mut peer, answer) = open_with(server.address, "/r", &[offer]).await;
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), None);
    peer.send(text("plain")).await;
    peer.expect_text("plain").await;
    let offer = "Sec-WebSocket-Protocol: chat, provod.room.v1";
    let (_, answer) = open_with(server.address, "/r", &[offer]).await;
    assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some("provod.room.v1"));
}
