use std::net::SocketAddr;

use provod::server::OriginPolicy;
use provod::{Server, WebSocket};
use provod_testkit::peer::soon;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::program::Program;

/// `me:secret` in Base64.
const LOGIN: &str = "Basic bWU6c2VjcmV0";

/// A proxy of HTTP that wants a password, and asks nobody but the server where any host leads.
async fn proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                assert!(head.starts_with("CONNECT chat.example:80 HTTP/1.1\r\n"), "{head}");
                if !head.contains(LOGIN) {
                    let answer = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                        Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
                    return client.write_all(answer.as_bytes()).await.unwrap();
                }
                client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_message_goes_out_through_the_proxy_of_the_environment() {
    let server = Server::new().listen("127.0.0.1:0").origin(OriginPolicy::any());
    let running = server
        .start(|mut ws: WebSocket| async move {
            while let Some(message) = ws.recv().await? {
                ws.send(message).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let proxy = proxy(running.addresses()[0].tcp().unwrap()).await;
    let arguments = ["ws://chat.example/", "Hello out there"];

    let variable = format!("http://me:secret@{proxy}");
    let mut program =
        Program::start_with("behind_a_proxy", &arguments, &[("http_proxy", &variable)]);
    assert_eq!(program.line().await, "Hello out there");
    assert!(program.ends_well().await);

    let variable = format!("http://me:guessed@{proxy}");
    let program = Program::start_with("behind_a_proxy", &arguments, &[("http_proxy", &variable)]);
    let output = soon(program.child.wait_with_output()).await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("407") && said.contains("write user and password"), "{said}");
    assert!(!said.contains("guessed"), "{said}");
}
