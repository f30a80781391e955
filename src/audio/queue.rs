//! The bytes of one stream or file that are not decoded yet. Who calls it: [`super::intake`].

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Messages below this many bytes are copied together in the queue.
const SHORT_MESSAGE: usize = 1_024;

/// Bytes in the order they came. Long messages are kept as they are; short ones are copied together, since a message of one byte
/// would otherwise cost some seventy, and the limit on undecoded bytes would bound nothing.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pieces: VecDeque<Bytes>,
    /// Short messages, after all of `pieces`.
    tail: BytesMut,
    len: usize,
}

impl Queue {
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if bytes.len() < SHORT_MESSAGE {
            self.tail.extend_from_slice(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
        self.pieces.push_back(bytes);
    }

    /// Puts bytes before all others.
    pub(super) fn push_front(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        self.pieces.push_front(bytes);
    }

    /// Bytes held.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first bytes in one piece; none only if the queue is empty.
    pub(super) fn front(&self) -> &[u8] {
        self.pieces.front().map_or(&self.tail, |piece| piece)
    }

    /// A copy of the first `count` bytes, or of all there are.
    pub(super) fn head(&self, count: usize) -> Vec<u8> {
        self.pieces.iter().flatten().chain(&self.tail).take(count).copied().collect()
    }

    /// Drops the first `count` bytes.
    pub(super) fn advance(&mut self, count: usize) {
        let mut count = count.min(self.len);
        self.len -= count;
        while let Some(piece) = self.pieces.front_mut() {
            let part = piece.len().min(count);
            piece.advance(part);
            count -= part;
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.tail.advance(count.min(self.tail.len()));
    }

    /// Takes at most `most` bytes from the front, at least one if there is any.
    pub(super) fn some(&mut self, most: usize) -> Bytes {
        let part = self.front().len().min(most);
        let bytes = match self.pieces.front() {
            Some(piece) => piece.slice(..part),
            None => Bytes::copy_from_slice(self.tail.get(..part).unwrap_or_default()),
        };
        self.advance(part);
        bytes
    }

    /// Moves the first `count` bytes, or all there are, to the end of `into`.
    pub(super) fn take(&mut self, count: usize, into: &mut Vec<u8>) {
        let mut missing = count.min(self.len);
        while missing > 0 {
            let front = self.front();
            let part = front.len().min(missing);
            into.extend_from_slice(front.get(..part).unwrap_or(front));
            self.advance(part);
            missing -= part;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Queue::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_take_no_more_memory_than_their_bytes() {
        let mut queue = Queue::default();
        for _ in 0..100_000 {
            queue.push(Bytes::from_static(b"x"));
        }
        assert_eq!((queue.len, queue.pieces.len()), (100_000, 0));
        assert!(queue.tail.capacity() < 400_000);
    }

    #[test]
    fn pieces_come_out_in_the_order_in_which_they_went_in() {
        let mut queue = Queue::default();
        let long = vec![7; 1_500];
        [&b"ab"[..], &long, b"c"]
            .iter()
            .for_each(|bytes| queue.push(Bytes::copy_from_slice(bytes)));
        assert_eq!(queue.some(1), &b"a"[..]);
        assert_eq!(queue.some(9), &b"b"[..]);
        assert_eq!(queue.some(1_000).len(), 1_000);
        assert_eq!(
            (queue.some(1_000).len(), queue.some(9), queue.len()),
            (500, Bytes::from_static(b"c"), 0)
        );
        assert_eq!(queue.some(9), Bytes::new());
        queue.push(Bytes::from_static(b"d"));
        queue.push_front(Bytes::from_static(b"bc"));
        assert_eq!((queue.len(), queue.head(9)), (3, b"bcd".to_vec()));
    }
}
