//! Work that is spread over the processors.

/// Does something with every item, in their order, spread over up to eight processors: files are checked alone, so that
/// thousands of them take the time of a few hundred.
pub fn side_by_side<I: Sync, O: Send>(items: &[I], work: impl Fn(&I) -> O + Sync) -> Vec<O> {
    let parts = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    if items.len() < 16 || parts < 2 {
        return items.iter().map(&work).collect();
    }
    // Small chunks, so that one large file does not hold up a whole part.
    let next = std::sync::atomic::AtomicUsize::new(0);
    let chunk = items.len().div_ceil(parts * 8);
    let worker = || {
        let mut done: Vec<(usize, Vec<O>)> = Vec::new();
        loop {
            let start = next.fetch_add(chunk, std::sync::atomic::Ordering::Relaxed);
            if start >= items.len() {
                return done;
            }
            let part = &items[start..items.len().min(start + chunk)];
            done.push((start, part.iter().map(&work).collect()));
        }
    };
    let mut done: Vec<(usize, Vec<O>)> = std::thread::scope(|scope| {
        // Without a free thread this one does it all.
        let others: Vec<_> =
            (1..parts).map_while(|_| std::thread::Builder::new().spawn_scoped(scope, worker).ok()).collect();
        let mut done = worker();
        for other in others {
            match other.join() {
                Ok(part) => done.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(start, _)| *start);
    done.into_iter().flat_map(|(_, part)| part).collect()
}
