//! What the kernel says of this process, for a scrape. Where there is no `/proc`, nothing.
//!
//! Reads a handful of small files of the kernel's, which wait for no disk.

use std::fs;

use crate::telemetry::metrics::Process;

/// Parts of a second in which Linux tells programs times (`USER_HZ`): the same on all machines that
/// the gate is built for.
const TICKS_PER_SECOND: u64 = 100;

/// The limit on file descriptors, as a line of `/proc/self/limits` begins.
const MAX_OPEN_FILES: &str = "Max open files";

/// What is known at this moment.
pub(in crate::app) fn look() -> Process {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let (cpu_ticks, start_ticks) = times(&read("/proc/self/stat")).unzip();
    let boot = boot_seconds(&read("/proc/stat"));
    Process {
        cpu_millis: cpu_ticks.map(millis),
        resident_bytes: resident_bytes(&read("/proc/self/status")),
        open_fds: open_fds(),
        max_fds: max_fds(&read("/proc/self/limits")),
        start_millis: boot
            .zip(start_ticks)
            .map(|(boot, ticks)| boot.saturating_mul(1000).saturating_add(millis(ticks))),
    }
}

fn millis(ticks: u64) -> u64 {
    ticks.saturating_mul(1000 / TICKS_PER_SECOND)
}

/// Ticks on a processor, and when it started in ticks since the machine did (proc_pid_stat(5)).
fn times(stat: &str) -> Option<(u64, u64)> {
    // The name of the program stands in parentheses and may have anything in it.
    let (_, fields) = stat.rsplit_once(')')?;
    // The first of these is field 3.
    let fields: Vec<_> = fields.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (user, system, start) = (field(14)?, field(15)?, field(22)?);
    Some((user.saturating_add(system), start))
}

fn boot_seconds(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

fn resident_bytes(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The soft limit; `None` when there is none.
fn max_fds(limits: &str) -> Option<u64> {
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix(MAX_OPEN_FILES))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_fds() -> Option<u64> {
    let folder = "/proc/self/fd";
    // Since Linux 6.2 the size of the folder is their number; before, it is 0.
    if let Some(count @ 1..) = fs::metadata(folder).ok().map(|folder| folder.len()) {
        return Some(count);
    }
    let listed = fs::read_dir(folder).ok()?.count();
    // Less the one by which they are listed.
    u64::try_from(listed).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_program_shifts_no_field() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 17 18 4711 20 21";
        for name in ["wxgate", "a b", "a) S 1 (", ")"] {
            let stat = format!("42 ({name}) {fields}\n");
            assert_eq!(times(&stat), Some((300, 4711)), "{name}");
        }
        assert_eq!(millis(300), 3000);
        for broken in ["", "42 (wxgate", "42 (wxgate) S 1 2"] {
            assert_eq!(times(broken), None, "{broken}");
        }
    }

    #[test]
    fn what_is_not_told_is_not_made_up() {
        assert_eq!(
            resident_bytes("VmPeak:\t 1 kB\nVmRSS:\t  2048 kB\n"),
            Some(2_097_152)
        );
        assert_eq!(resident_bytes("VmRSS:\t many kB\n"), None);
        assert_eq!(resident_bytes(""), None);
        let limits =
            |soft| format!("Limit  Soft  Hard  Units\nMax open files  {soft}  99  files\n");
        assert_eq!(max_fds(&limits("1024")), Some(1024));
        assert_eq!(max_fds(&limits("unlimited")), None);
        assert_eq!(
            boot_seconds("cpu 1\nbtime 1700000000\n"),
            Some(1_700_000_000)
        );
        assert_eq!(boot_seconds("cpu 1\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_tells_all_of_it() {
        let process = look();
        assert!(process.resident_bytes > Some(1024 * 1024), "{process:?}");
        // Of a second after 2020 on.
        assert!(
            process.start_millis > Some(1_577_836_800_000),
            "{process:?}"
        );
        assert!(process.cpu_millis.is_some() && process.max_fds.is_some());
        let before = process.open_fds.unwrap();
        let opened = [(); 64].map(|()| fs::File::open("/dev/null").unwrap());
        // Other tests open and close some meanwhile.
        assert!(look().open_fds.unwrap() > before.min(32), "{before}");
        drop(opened);
    }
}
