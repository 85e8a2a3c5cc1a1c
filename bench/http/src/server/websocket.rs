use provod::group::{Member, SlowPolicy};
use provod::handler::{Received, Socket};
use provod::{Group, Handler, Server};

use super::publish_from;
use crate::Error;

pub(super) async fn run() -> Result<(), Error> {
    let group = Group::new();
    let handler = Application { group: group.clone() };
    let running = Server::new().listen("127.0.0.1:0").start_handler(handler).await?;
    let address = running.addresses()[0].tcp().ok_or("not a TCP address")?;
    // Who lags behind is disconnected, which the client notices.
    publish_from(address, |text| _ = group.publish(text)).await
}

struct Application {
    group: Group,
}

impl Handler for Application {
    /// A listener's place among the others.
    type Peer = Option<Member>;

    fn open(&self, ws: &mut Socket<'_>, (): ()) -> Option<Member> {
        (ws.path() == "/events").then(|| self.group.join(&ws.sender(), SlowPolicy::Close))
    }

    fn message(&self, ws: &mut Socket<'_>, _: &mut Option<Member>, message: Received<'_>) {
        // Nothing is sent where the connection is closing.
        let _ = ws.send(message);
    }
}
