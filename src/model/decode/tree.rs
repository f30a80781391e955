//! The prefixes of a beam search as a tree of shared nodes, with places reused.
//!
//! What it does: children, parents, paths, release of what nobody needs. What it does not do: scores (see `words`), time.
//! Who calls it: `beam`.
#![allow(clippy::indexing_slicing, reason = "node numbers come from this tree alone")]

use super::words::Said;
use crate::model::lm::NgramState;

/// No node, no hypothesis, no token.
pub(super) const NONE: u32 = u32::MAX;

/// One prefix: its parent's tokens and one more.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) parent: u32,
    pub(super) first_child: u32,
    pub(super) sibling: u32,
    /// Place in the beam, or [`NONE`].
    pub(super) hypothesis: u32,
    /// Last token; [`NONE`] at the start of an utterance.
    pub(super) token: u32,
    /// What its tokens spell.
    pub(super) said: Said,
}

impl Default for Node {
    fn default() -> Self {
        Node {
            parent: NONE,
            first_child: NONE,
            sibling: NONE,
            hypothesis: NONE,
            token: NONE,
            said: Said::default(),
        }
    }
}

/// The tree. Every leaf is in the beam; the root stands for all that is fixed.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) root: u32,
    free: Vec<u32>,
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Tree {
    /// A tree of one node, which is in the beam.
    pub(super) fn new(context: NgramState) -> Self {
        Tree {
            nodes: vec![Node {
                hypothesis: 0,
                said: Said::after(context),
                ..Node::default()
            }],
            root: 0,
            free: Vec::new(),
        }
    }

    /// Nodes in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// The child of `parent` by `token`.
    pub(super) fn child(&self, parent: u32, token: u32) -> Option<u32> {
        let mut child = self.nodes[index(parent)].first_child;
        while child != NONE && self.nodes[index(child)].token != token {
            child = self.nodes[index(child)].sibling;
        }
        (child != NONE).then_some(child)
    }

    /// Adds `node` below `parent`.
    pub(super) fn add(&mut self, parent: u32, node: Node) -> u32 {
        let node = Node {
            parent,
            sibling: self.nodes[index(parent)].first_child,
            ..node
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.nodes[index(number)] = node;
                number
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
            }
        };
        self.nodes[index(parent)].first_child = number;
        number
    }

    /// Removes a node and those above it, as far as they are neither in the beam nor have children. The root and nodes that
    /// are gone already have no parent and are left alone.
    pub(super) fn release(&mut self, mut number: u32) {
        loop {
            let node = &mut self.nodes[index(number)];
            let (parent, sibling) = (node.parent, node.sibling);
            if parent == NONE || node.hypothesis != NONE || node.first_child != NONE {
                return;
            }
            node.parent = NONE;
            if self.nodes[index(parent)].first_child == number {
                self.nodes[index(parent)].first_child = sibling;
            } else {
                let mut before = self.nodes[index(parent)].first_child;
                while self.nodes[index(before)].sibling != number {
                    before = self.nodes[index(before)].sibling;
                }
                self.nodes[index(before)].sibling = sibling;
            }
            self.free.push(number);
            number = parent;
        }
    }

    /// How many tokens after the root all hypotheses share, not counting a token whose prefix is itself a hypothesis.
    pub(super) fn agreed(&self) -> usize {
        let mut number = self.root;
        let mut count = 0;
        while self.nodes[index(number)].hypothesis == NONE {
            let child = self.nodes[index(number)].first_child;
            if child == NONE || self.nodes[index(child)].sibling != NONE || self.nodes[index(child)].hypothesis != NONE {
                break;
            }
            number = child;
            count += 1;
        }
        count
    }

    /// Makes a node the root. All hypotheses must descend from it; the nodes above it are dropped.
    pub(super) fn set_root(&mut self, root: u32) {
        let mut above = self.nodes[index(root)].parent;
        while above != NONE {
            self.free.push(above);
            above = std::mem::replace(&mut self.nodes[index(above)].parent, NONE);
        }
        self.nodes[index(root)].parent = NONE;
        self.nodes[index(root)].sibling = NONE;
        self.root = root;
    }

    /// Nodes and tokens after the root down to `number`.
    pub(super) fn path(&self, mut number: u32) -> (Vec<u32>, Vec<u32>) {
        let mut nodes = Vec::new();
        while number != self.root {
            nodes.push(number);
            number = self.nodes[index(number)].parent;
        }
        nodes.reverse();
        let tokens = nodes.iter().map(|&node| self.nodes[index(node)].token).collect();
        (nodes, tokens)
    }

    /// True if `number` is `above` or lies below it.
    pub(super) fn descends(&self, mut number: u32, above: u32) -> bool {
        while number != above {
            if number == self.root {
                return false;
            }
            number = self.nodes[index(number)].parent;
        }
        true
    }
}
