//! Whether a run says something about the server, or about the generator.

use super::report::{Generator, OpenLoop};

/// A generator that is busier than this has no time left in which to notice anything.
const BUSY: f64 = 0.95;
/// One that waits for a processor for longer than this share of the time shares it with the
/// server.
const WAITED: f64 = 0.2;
/// A message that leaves later than this is late, in nanoseconds.
pub(super) const LATE: u64 = 1_000_000;
/// So large a share of them may be late.
const LATE_SHARE: f64 = 0.01;
/// So large a share may meet a full socket.
const BLOCKED_SHARE: f64 = 0.001;

/// Why a run is not valid; nothing where it is.
pub(super) fn reasons(
    generator: &Generator,
    open_loop: Option<&OpenLoop>,
    received: u64,
) -> Vec<String> {
    let mut reasons = Vec::new();
    let limit = "the generator was the limit";
    if generator.busy > BUSY {
        let busy = generator.busy * 100.0;
        reasons.push(format!("{limit}: it was busy {busy:.0} % of the time; give it --threads"));
    }
    if generator.waited > WAITED {
        let waited = generator.waited * 100.0;
        reasons.push(format!(
            "{limit}: it waited for a processor {waited:.0} % of the time; give it cores of its own"
        ));
    }
    if let Some(open) = open_loop {
        let due = open.due.max(1) as f64;
        if open.late_share > LATE_SHARE {
            let late = open.late_share * 100.0;
            reasons.push(format!("{limit}: {late:.1} % of what was due left more than 1 ms late"));
        }
        let sent = open.late_us.count + open.blocked + open.unsent;
        if (sent as f64) < due * 0.99 {
            reasons.push(format!("{limit}: only {sent} of {due:.0} messages were sent"));
        }
        if open.blocked as f64 / due > BLOCKED_SHARE {
            reasons.push(format!(
                "the rate was not reached: {} of {due:.0} messages met a full socket, the server \
                 did not take them",
                open.blocked
            ));
        }
    }
    if received == 0 {
        reasons.push("nothing was measured".to_owned());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::reasons;
    use crate::bench::report::Report;

    #[test]
    fn each_limit_has_its_reason() {
        let mut good = Report::sample();
        good.open_loop.as_mut().unwrap().late_us.count = 10_000;
        let judge = |report: &Report| {
            reasons(&report.generator, report.open_loop.as_ref(), report.messages.received)
        };
        assert_eq!(judge(&good), Vec::<String>::new());
        let says = |change: &dyn Fn(&mut Report), part: &str| {
            let mut report = good.clone();
            change(&mut report);
            let reasons = judge(&report);
            assert!(reasons.len() == 1 && reasons[0].contains(part), "{part}: {reasons:?}");
        };
        says(&|r| r.generator.busy = 0.99, "busy 99 %");
        says(&|r| r.generator.waited = 0.5, "waited for a processor 50 %");
        says(&|r| r.open_loop.as_mut().unwrap().late_share = 0.02, "2.0 % of what was due");
        says(&|r| r.open_loop.as_mut().unwrap().blocked = 50, "met a full socket");
        says(&|r| r.open_loop.as_mut().unwrap().due = 20_000, "only 10000 of 20000");
        says(&|r| r.messages.received = 0, "nothing was measured");
    }
}
