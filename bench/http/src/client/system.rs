//! What the system has counted.

use std::fs;

use crate::Error;

/// Nanoseconds that the threads of a process have had the processor.
pub(super) fn cpu_ns(pid: u32) -> Result<u64, Error> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(sum)
}

/// Bytes of a process that are in memory.
pub(super) fn resident(pid: u32) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
    Ok(kib.parse::<u64>()? * 1024)
}

/// TCP segments that this machine has sent, with or without data.
pub(super) fn segments() -> Result<u64, Error> {
    let text = fs::read_to_string("/proc/net/snmp")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().ok_or("no Tcp")?, lines.next().ok_or("no Tcp")?);
    let mut both = names.split(' ').zip(values.split(' '));
    let (_, value) = both.find(|(name, _)| *name == "OutSegs").ok_or("no OutSegs")?;
    Ok(value.parse()?)
}
