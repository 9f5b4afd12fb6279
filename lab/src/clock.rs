//! Simulated time: how long things take in a real deployment, and how much faster the lab lets it pass.
//!
//! Durations in the lab (of a Proxmox task, of a machine's boot, of a ticket's lifetime) are those of a real deployment, and
//! are divided by one factor here. Factor 1 is real time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The largest factor that is accepted: beyond it, the system's timers are coarser than the durations.
pub const MAX_FACTOR: f64 = 100_000.0;

/// A clock that runs `factor` times as fast as the wall clock. Clones are cheap and share their time.
#[derive(Clone, Debug)]
pub struct Clock {
    factor: f64,
    started: Instant,
    started_at: SystemTime,
    skipped_ms: Arc<AtomicU64>,
}

impl Clock {
    /// Creates a clock that starts now. The factor is clamped between 0.01 and [`MAX_FACTOR`]; NaN means 1.
    pub fn new(factor: f64) -> Clock {
        let factor = if factor.is_nan() { 1.0 } else { factor.clamp(0.01, MAX_FACTOR) };
        Clock { factor, started: Instant::now(), started_at: SystemTime::now(), skipped_ms: Arc::default() }
    }

    /// Returns how many simulated seconds pass in a real second.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Converts simulated time to real time.
    pub fn real(&self, simulated: Duration) -> Duration {
        simulated.div_f64(self.factor)
    }

    /// Waits until `simulated` has passed in simulated time. [`Clock::skip`] does not shorten the wait.
    pub async fn sleep(&self, simulated: Duration) {
        tokio::time::sleep(self.real(simulated)).await;
    }

    /// Returns the simulated time since this clock was created, including skipped time.
    pub fn elapsed(&self) -> Duration {
        let skipped = Duration::from_millis(self.skipped_ms.load(Ordering::Relaxed));
        self.started.elapsed().mul_f64(self.factor) + skipped
    }

    /// Returns the simulated date in whole seconds since 1970, as Proxmox and Omni write it: the date at which this clock was
    /// created plus [`Clock::elapsed`].
    pub fn unix(&self) -> u64 {
        (self.started_at + self.elapsed()).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Moves the date forward at once for all clones of this clock, so that tickets and keys age.
    pub fn skip(&self, simulated: Duration) {
        let ms = u64::try_from(simulated.as_millis()).unwrap_or(u64::MAX / 4);
        self.skipped_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

/// Parses a factor: how many simulated seconds pass in a real second.
///
/// # Errors
/// Returns an error if the text is not a number above 0.
pub fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("time must pass: give a number above 0".to_owned()),
    }
}
