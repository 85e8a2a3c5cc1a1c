//! wtx: `peer-wtx PORT echo`

use tokio::net::TcpStream;
use wtx::collection::Vector;
use wtx::web_socket::{OpCode, WebSocketAcceptor, WebSocketPayloadOrigin};

async fn echo(stream: TcpStream) -> wtx::Result<()> {
    let mut ws = WebSocketAcceptor::default().no_masking(false).accept(stream).await?;
    let (mut common, mut reader, mut writer) = ws.split_mut();
    let mut buffer = Vector::new();
    loop {
        let origin = WebSocketPayloadOrigin::Adaptive;
        let mut frame = reader.read_frame(&mut buffer, &mut common, origin).await?;
        match frame.op_code() {
            OpCode::Text | OpCode::Binary => writer.write_frame(&mut common, &mut frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
        buffer.clear();
    }
}

fn main() {
    let (port, _) = common::arguments();
    let serve = |stream| async move {
        let _ = echo(stream).await;
    };
    common::block_on(common::accept(port, serve));
}
