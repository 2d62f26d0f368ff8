//! The same work on many things, on every core.

use std::thread;

/// Fewer things than this for each core are not worth a thread.
const LEAST: usize = 16;

/// What `work` makes of each of `things`, in their order.
pub(crate) fn map<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let n_threads = if things.len() < 2 * LEAST {
        1
    } else {
        thread::available_parallelism().map_or(1, std::num::NonZero::get).min(things.len() / LEAST)
    };
    if n_threads < 2 {
        return things.iter().map(work).collect();
    }
    let work = &work;
    let (first, others) = things.split_at(things.len().div_ceil(n_threads));
    thread::scope(|scope| {
        let others: Vec<_> = others
            .chunks(first.len())
            .map(|chunk| scope.spawn(move || chunk.iter().map(work).collect::<Vec<R>>()))
            .collect();
        let mut made: Vec<R> = first.iter().map(work).collect();
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        made
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_worked_on_once_in_order() {
        for n in [0, 1, LEAST, 2 * LEAST, 2 * LEAST + 1, 1_000] {
            let things: Vec<usize> = (0..n).collect();
            assert_eq!(map(&things, |thing| thing * 2), (0..n).map(|thing| thing * 2).collect::<Vec<_>>(), "{n}");
        }
    }
}
