//! Whose file goes next: weighted fair between keys, in turn between the files of a key. Pure.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996): every key has a tag that grows by the work it was given, divided by its weight; the
//! least tag goes first. A key that comes back after a pause starts at the present tag, so it can neither save up nor owe. Who calls it:
//! [`super::core`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::units::{KeyId, StreamId};

/// Files that have a chunk ready, by key.
#[derive(Debug, Default)]
pub struct FairQueue {
    accounts: BTreeMap<KeyId, Account>,
    /// The tag of the key that was served last.
    present: f64,
}

#[derive(Debug)]
struct Account {
    tag: f64,
    weight: f64,
    /// In the order in which they became ready.
    ready: VecDeque<(StreamId, Instant)>,
}

impl FairQueue {
    /// A file of `key` has a chunk ready since `now`. `weight`: the key's share relative to others, more than zero.
    pub fn push(&mut self, key: KeyId, weight: f64, stream: StreamId, now: Instant) {
        let present = self.present;
        let account = self.accounts.entry(key).or_insert_with(|| Account {
            tag: present,
            weight,
            ready: VecDeque::new(),
        });
        if account.ready.is_empty() {
            account.tag = account.tag.max(present);
        }
        account.ready.push_back((stream, now));
    }

    /// Takes a file out, wherever it stands.
    pub fn remove(&mut self, stream: StreamId) {
        for account in self.accounts.values_mut() {
            account.ready.retain(|&(ready, _)| ready != stream);
        }
        self.forget();
    }

    /// Up to `most` files that go next and that `fits` lets through, in order, each a step of work for its key.
    pub fn take(&mut self, most: usize, mut fits: impl FnMut(StreamId) -> bool) -> Vec<StreamId> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let first_fit = |account: &Account, fits: &mut dyn FnMut(StreamId) -> bool| account.ready.iter().position(|&(id, _)| fits(id));
            let mut next: Option<(f64, KeyId, usize)> = None;
            for (&key, account) in &self.accounts {
                if next.is_none_or(|(tag, _, _)| account.tag < tag)
                    && let Some(place) = first_fit(account, &mut fits)
                {
                    next = Some((account.tag, key, place));
                }
            }
            let Some((tag, key, place)) = next else { break };
            let Some(account) = self.accounts.get_mut(&key) else { break };
            taken.extend(account.ready.remove(place).map(|(id, _)| id));
            account.tag = tag + 1.0 / account.weight;
            self.present = tag;
        }
        self.forget();
        taken
    }

    /// The file that would go next.
    pub fn first(&self) -> Option<StreamId> {
        let waiting = self.accounts.values().filter(|account| !account.ready.is_empty());
        let next = waiting.min_by(|a, b| a.tag.total_cmp(&b.tag))?;
        next.ready.front().map(|&(id, _)| id)
    }

    /// Files that wait.
    pub fn len(&self) -> usize {
        self.accounts.values().map(|account| account.ready.len()).sum()
    }

    /// True if none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Since when the file that waits longest has waited.
    pub fn oldest(&self) -> Option<Instant> {
        let fronts = self.accounts.values().filter_map(|account| account.ready.front());
        fronts.map(|&(_, since)| since).min()
    }

    /// Drops accounts that have nothing to remember: without files, and not ahead of the others.
    fn forget(&mut self) {
        let present = self.present;
        self.accounts
            .retain(|_, account| !account.ready.is_empty() || account.tag > present);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Serves `steps` steps of `batch` chunks in which every file is ready again at once; chunks by stream.
    fn serve(queue: &mut FairQueue, files: &[(u64, u32, f64)], steps: usize, batch: usize) -> HashMap<u64, usize> {
        let now = Instant::now();
        for &(id, key, weight) in files {
            queue.push(KeyId(key), weight, StreamId(id), now);
        }
        let mut served = HashMap::new();
        for _ in 0..steps {
            let taken = queue.take(batch, |_| true);
            for id in taken {
                *served.entry(id.0).or_default() += 1;
                let &(_, key, weight) = files.iter().find(|(known, _, _)| *known == id.0).unwrap();
                queue.push(KeyId(key), weight, id, now);
            }
        }
        served
    }

    #[test]
    fn files_of_a_key_take_turns() {
        let served = serve(&mut FairQueue::default(), &[(1, 0, 1.0), (2, 0, 1.0), (3, 0, 1.0)], 100, 3);
        assert_eq!(served.values().copied().collect::<Vec<_>>(), [100; 3]);
    }

    #[test]
    fn many_files_do_not_get_a_key_more_than_one_file() {
        let mut files: Vec<(u64, u32, f64)> = (1..=9).map(|id| (id, 0, 1.0)).collect();
        files.push((10, 1, 1.0));
        let served = serve(&mut FairQueue::default(), &files, 100, 1);
        assert_eq!(served[&10], 50);
        assert!((1..=9).all(|id| (5..=6).contains(&served[&id])), "{served:?}");
    }

    #[test]
    fn weights_are_shares() {
        let served = serve(&mut FairQueue::default(), &[(1, 0, 1.0), (2, 1, 3.0)], 400, 1);
        assert!((99..=101).contains(&served[&1]), "{served:?}");
    }

    #[test]
    fn who_pauses_does_not_save_up() {
        let (mut queue, now) = (FairQueue::default(), Instant::now());
        serve(&mut queue, &[(1, 0, 1.0)], 1000, 1);
        queue.push(KeyId(1), 1.0, StreamId(2), now);
        let mut order = Vec::new();
        for _ in 0..6 {
            let id = queue.take(1, |_| true)[0];
            order.push(id.0);
            queue.push(KeyId(u32::from(id.0 == 2)), 1.0, id, now);
        }
        assert_eq!(order.iter().filter(|id| **id == 2).count(), 3, "{order:?}");
    }

    #[test]
    fn removed_files_and_those_that_do_not_fit_are_not_taken() {
        let (mut queue, now) = (FairQueue::default(), Instant::now());
        for id in 1..=4 {
            queue.push(KeyId(0), 1.0, StreamId(id), now + std::time::Duration::from_millis(id));
        }
        queue.remove(StreamId(1));
        assert_eq!(queue.take(4, |id| id.0 != 3), [StreamId(2), StreamId(4)]);
        assert_eq!((queue.first(), queue.len()), (Some(StreamId(3)), 1));
        assert_eq!(queue.oldest(), Some(now + std::time::Duration::from_millis(3)));
        queue.remove(StreamId(3));
        assert!(queue.is_empty() && queue.accounts.len() <= 1);
    }
}
