//! Field time: how long things take in a real deployment, and how much faster the lab lets them pass.
//!
//! Everything that takes time in the lab (a Proxmox task, a machine that boots, a ticket that expires) is written in the
//! durations of the field and divided by one factor here. Factor 1 is the field's own pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The largest factor that is accepted: beyond it the timers of the system are coarser than what they measure.
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
    /// A clock that starts now. The factor is held between 0.01 and [`MAX_FACTOR`]; anything that is not a number means 1.
    pub fn new(factor: f64) -> Clock {
        let factor = if factor.is_nan() { 1.0 } else { factor.clamp(0.01, MAX_FACTOR) };
        Clock { factor, started: Instant::now(), started_at: SystemTime::now(), skipped_ms: Arc::default() }
    }

    /// How many seconds of the field pass in one second here.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// The wall-clock duration in which `field` passes.
    pub fn real(&self, field: Duration) -> Duration {
        field.div_f64(self.factor)
    }

    /// Waits until `field` has passed at the field's pace. A time skipped by [`Clock::skip`] does not shorten it.
    pub async fn sleep(&self, field: Duration) {
        tokio::time::sleep(self.real(field)).await;
    }

    /// Field time since this clock was made, skipped time included.
    pub fn elapsed(&self) -> Duration {
        let skipped = Duration::from_millis(self.skipped_ms.load(Ordering::Relaxed));
        self.started.elapsed().mul_f64(self.factor) + skipped
    }

    /// The date in the field, which is that at which this clock was made plus [`Clock::elapsed`], in whole seconds since 1970, as Proxmox
    /// and Omni write it.
    pub fn unix(&self) -> u64 {
        (self.started_at + self.elapsed()).duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Moves the date forward at once, for all that share this clock: tickets and keys grow old.
    pub fn skip(&self, field: Duration) {
        let ms = u64::try_from(field.as_millis()).unwrap_or(u64::MAX / 4);
        self.skipped_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

/// Reads a factor: how many simulated seconds pass in one second.
///
/// # Errors
/// Why it cannot be one.
pub fn factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("time must pass: give a number above 0".to_owned()),
    }
}
