use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::{Duration, advance};

use super::{BETWEEN_LOOKS, MOST, Pair, Source};

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A certificate and a key that belong together.
fn issue(path: &Path) -> Vec<u8> {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a name");
    fs::write(path.join("key"), issued.signing_key.serialize_pem()).expect("it is written");
    // As certificate renewal does it: the old file is replaced, not written over.
    fs::write(path.join("new"), issued.cert.pem()).expect("it is written");
    fs::rename(path.join("new"), path.join("cert")).expect("it is moved");
    issued.cert.der().to_vec()
}

fn shown(pair: &Pair) -> Vec<u8> {
    pair.lock().current.as_ref().expect("it was read").cert[0].to_vec()
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_now_and_then_and_read_when_they_have_changed() {
    let directory = std::env::temp_dir().join(format!("provod-pair-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let directory = Directory(directory);
    let path = |name| directory.0.join(name);
    let first = issue(&directory.0);
    let source = Source::Files { certificate: path("cert"), key: path("key") };
    let pair = Arc::new(Pair::new(source));
    pair.reload().expect("a good pair");
    let look_later = async || {
        advance(BETWEEN_LOOKS).await;
        Pair::look(&pair).await;
        shown(&pair)
    };
    assert_eq!(look_later().await, first);
    let second = issue(&directory.0);
    // It is too early to look.
    advance(BETWEEN_LOOKS - Duration::from_millis(1)).await;
    Pair::look(&pair).await;
    assert_eq!(shown(&pair), first);
    assert_eq!(look_later().await, second);
    // Half of a pair, none, and what is too long, are not used.
    let key = fs::read(path("key")).expect("it is there");
    issue(&directory.0);
    let third_key = fs::read(path("key")).expect("it is there");
    fs::write(path("key"), &key).expect("it is written");
    assert_eq!(look_later().await, second);
    fs::remove_file(path("key")).expect("it is there");
    assert_eq!(look_later().await, second);
    fs::write(path("key"), vec![b'\n'; 1 << 20]).expect("it is written");
    let error = pair.reload().expect_err("it is too long").to_string();
    assert!(MOST == 1 << 20 && error.ends_with("key: the file is too long"), "{error}");
    // The other half comes late.
    fs::write(path("key"), &third_key).expect("it is written");
    let third = look_later().await;
    assert!(third != second && third != first);
}

#[tokio::test(start_paused = true)]
async fn while_one_looks_others_go_on() {
    let source = Source::Files { certificate: "cert".into(), key: "key".into() };
    let pair = Pair::new(source);
    let now = tokio::time::Instant::now();
    assert!(pair.is_time(now));
    assert!(!pair.is_time(now));
    assert!(pair.is_time(now + BETWEEN_LOOKS));
    let memory = Source::Memory { certificate: Vec::new(), key: Vec::new() };
    assert!(!Pair::new(memory).is_time(now), "there is nothing to look at");
}
