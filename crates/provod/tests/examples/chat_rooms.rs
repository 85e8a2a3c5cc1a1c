use provod::{WebSocket, connect};
use provod_testkit::peer::soon;

use crate::program::{Program, word};

async fn hears(ws: &mut WebSocket, words: &str) {
    assert_eq!(soon(ws.recv()).await.unwrap(), Some(words.into()));
}

/// From the welcome on, whoever entered hears what is said.
async fn enter(url: &str, room: &str, name: &str) -> WebSocket {
    let mut ws = soon(connect(format!("{url}{room}?{name}"))).await.unwrap();
    hears(&mut ws, &format!("welcome to /{room}")).await;
    ws
}

#[tokio::test]
async fn a_room_hears_what_is_said_in_it_and_no_other() {
    let mut program = Program::start("chat_rooms", &["127.0.0.1:0"]);
    let url = word(&program.line().await, "ws://").replace("ROOM?NAME", "");
    let mut anna = enter(&url, "kitchen", "anna").await;
    let mut ben = enter(&url, "kitchen", "ben").await;
    hears(&mut anna, "ben is here").await;
    let mut carl = enter(&url, "garden", "carl").await;
    ben.send("dinner is ready").await.unwrap();
    hears(&mut anna, "ben: dinner is ready").await;
    anna.send("thank you").await.unwrap();
    hears(&mut ben, "anna: thank you").await;
    soon(anna.close(1000, "")).await.unwrap();
    hears(&mut ben, "anna has left").await;
    let dora = enter(&url, "garden", "dora").await;
    hears(&mut carl, "dora is here").await;
    drop(dora);
    hears(&mut carl, "dora has left").await;

    #[cfg(unix)]
    {
        program.terminate();
        assert_eq!(soon(carl.recv()).await.unwrap(), None);
        assert_eq!(carl.closed().await.code().as_u16(), 1001);
        drop((ben, carl));
        assert!(program.ends_well().await);
    }
}
