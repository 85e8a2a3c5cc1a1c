//! What processes and threads have used, where the system says it: Linux, in `/proc`.

#[cfg(target_os = "linux")]
use std::fs;

/// What a thread has used, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ThreadTime {
    /// Processor time.
    pub(super) cpu: u64,
    /// Time in which it could have run and no processor was free. Linux alone says that.
    pub(super) waited: u64,
}

impl ThreadTime {
    /// Of the calling thread.
    pub(super) fn now() -> Self {
        Self { cpu: thread_cpu(), waited: thread_waited() }
    }
}

#[cfg(unix)]
fn thread_cpu() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1_000_000_000 + nanos
}

#[cfg(not(unix))]
fn thread_cpu() -> u64 {
    0
}

#[cfg(target_os = "linux")]
fn thread_waited() -> u64 {
    schedstat("/proc/thread-self/schedstat").map_or(0, |(_, waited)| waited)
}

#[cfg(not(target_os = "linux"))]
fn thread_waited() -> u64 {
    0
}

/// The first two numbers of a `schedstat`: nanoseconds on a processor, and waiting for one.
#[cfg(target_os = "linux")]
fn schedstat(path: impl AsRef<std::path::Path>) -> Option<(u64, u64)> {
    let text = fs::read_to_string(path).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What a process has used and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    /// Processor time of all its threads, in seconds.
    pub(super) cpu: f64,
    /// Resident memory and the most there was, in bytes.
    pub(super) rss: u64,
    pub(super) rss_peak: u64,
}

/// Of a process, by its number; `None` where there is none, or the system does not say.
#[cfg(target_os = "linux")]
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    // Fields 14 and 15 of proc_pid_stat(5); the first two are cut off.
    let coarse = (ticks(11)? + ticks(12)?) / rustix::param::clock_ticks_per_second() as f64;
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
    let exact = tasks.filter_map(|task| schedstat(task.path().join("schedstat")));
    let exact = exact.map(|(run, _)| run).sum::<u64>() as f64 / 1e9;
    // Threads that have ended are in the coarse number alone.
    let cpu = if exact + 0.05 > coarse { exact } else { coarse };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024)
    };
    Some(Usage { cpu, rss: bytes("VmRSS:"), rss_peak: bytes("VmHWM:") })
}

#[cfg(not(target_os = "linux"))]
pub(super) fn usage(_pid: u32) -> Option<Usage> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{ThreadTime, usage};

    #[test]
    fn a_process_knows_itself_and_not_one_that_is_not_there() {
        let mine = usage(std::process::id()).unwrap();
        assert!(mine.rss > 1 << 16 && mine.rss_peak >= mine.rss, "{mine:?}");
        assert_eq!(usage(u32::MAX), None);
        let before = ThreadTime::now().cpu;
        let mut x = 0u64;
        while ThreadTime::now().cpu == before {
            x = std::hint::black_box(x + 1);
        }
    }
}
