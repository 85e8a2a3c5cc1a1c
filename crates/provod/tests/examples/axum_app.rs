use provod::{Client, connect};
use provod_testkit::peer::{Answer, Peer, soon};

use crate::program::{Program, word};

async fn send(address: &str, request: &str) -> Answer {
    let mut peer = Peer::connect(address.parse().unwrap()).await;
    peer.send(request.to_owned()).await;
    peer.answer().await
}

#[tokio::test]
async fn users_talk_by_token_and_by_cookie_and_nobody_else_does() {
    let mut program = Program::start("axum_app", &["127.0.0.1:0"]);
    let url = word(&program.line().await, "http://");
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let room = format!("ws://{address}/kitchen");

    let error = soon(connect(&room)).await.unwrap_err();
    assert_eq!(error.http_response().unwrap().status(), 401);
    let wrong = Client::new(&room).header("Authorization", "Bearer guessed");
    let error = soon(wrong.connect()).await.unwrap_err();
    assert_eq!(error.http_response().unwrap().status(), 401);

    let token = "Bearer anna-s3cret";
    let mut anna = soon(Client::new(&room).header("Authorization", token).connect()).await.unwrap();
    assert_eq!(soon(anna.recv()).await.unwrap(), Some("Welcome, Anna".into()));

    // As a browser does it.
    let login = |token: &str| {
        format!("POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{token}")
    };
    assert_eq!(send(&address, &login("ben-guess!")).await.status, 401);
    let answer = send(&address, &login("ben-s3cret")).await;
    assert_eq!(answer.status, 204);
    let cookie = answer.header("Set-Cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let page = Client::new(&room).header("Cookie", cookie);
    let other = page.clone().origin("https://elsewhere.example");
    let error = soon(other.connect()).await.unwrap_err();
    assert_eq!(error.http_response().unwrap().status(), 403, "a cookie is not enough");
    let page = page.origin(format!("http://{address}"));
    let mut ben = soon(page.connect()).await.unwrap();
    assert_eq!(soon(ben.recv()).await.unwrap(), Some("Welcome, Ben".into()));

    ben.send("hello").await.unwrap();
    assert_eq!(soon(anna.recv()).await.unwrap(), Some("Ben: hello".into()));
    let post = format!(
        "POST /kitchen HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\
         Content-Length: 6\r\n\r\ndinner"
    );
    assert_eq!(send(&address, &post).await.body, "told to 2\n");
    assert_eq!(soon(anna.recv()).await.unwrap(), Some("Anna: dinner".into()));
    let answer = send(&address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.body.starts_with("<!doctype html>"));

    #[cfg(unix)]
    {
        program.terminate();
        assert_eq!(soon(anna.recv()).await.unwrap(), None);
        assert_eq!(anna.closed().await.code().as_u16(), 1001);
        drop((anna, ben));
        assert_eq!(program.line().await, "axum_app: 0 WebSockets had to be dropped");
        assert!(program.ends_well().await);
    }
}
