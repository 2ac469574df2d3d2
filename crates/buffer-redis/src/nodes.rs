//! Which node of a cluster holds which slot, as the cluster says. It may be out of date: a node answers for a slot that
//! it does not hold with an error, and the client finds the right one.

use std::collections::HashMap;

use redis::cluster_routing::Slot;
use redis::{RedisResult, Value};

use crate::connection::Connection;

/// Where a queue lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// A node, counted as the cluster lists them.
    Known(usize),
    /// The node of this slot, whichever that is.
    Of(Slot),
}

/// The nodes by slot; empty before the cluster was asked.
#[derive(Debug, Default)]
pub(crate) struct Nodes(HashMap<Slot, usize>);

impl Nodes {
    /// Asks some node.
    ///
    /// # Errors
    /// If none answers.
    pub(crate) async fn ask(connection: &Connection) -> RedisResult<Self> {
        let told: Vec<Value> = connection.run(redis::cmd("CLUSTER").arg("SLOTS")).await?;
        Ok(Self::read(&told))
    }

    /// Ranges of slots, each with its first, its last, and the node that is its master.
    fn read(told: &[Value]) -> Self {
        let (mut masters, mut nodes): (Vec<&Value>, HashMap<_, _>) = (Vec::new(), HashMap::new());
        for range in told {
            let Value::Array(range) = range else { continue };
            let [Value::Int(first), Value::Int(last), master, ..] = &range[..] else { continue };
            let node = masters.iter().position(|known| known == &master).unwrap_or_else(|| {
                masters.push(master);
                masters.len() - 1
            });
            let slots = (*first..=*last).filter_map(|slot| Slot::new(u16::try_from(slot).ok()?));
            nodes.extend(slots.map(|slot| (slot, node)));
        }
        Self(nodes)
    }

    /// The node that holds the slot of this name.
    pub(crate) fn of(&self, name: &str) -> Node {
        let slot = Slot::for_key(name);
        self.0.get(&slot).map_or(Node::Of(slot), |node| Node::Known(*node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_one_node_are_found_together_and_those_of_no_known_node_by_slot() {
        let range = |first, last, port| {
            let master = Value::Array(vec![Value::SimpleString("h".into()), Value::Int(port)]);
            Value::Array(vec![Value::Int(first), Value::Int(last), master, Value::Nil])
        };
        // The slots of "foo" and "bar" are 12182 and 5061.
        let nodes =
            Nodes::read(&[range(0, 5_060, 1), range(5_061, 9_000, 2), range(12_182, 12_182, 2)]);
        assert_eq!((nodes.of("foo"), nodes.of("{bar}:in")), (Node::Known(1), Node::Known(1)));
        assert_eq!(nodes.of("bar"), Node::Known(1));
        let unknown = Nodes::read(&[Value::Nil, Value::Array(Vec::new())]);
        assert_eq!(unknown.of("foo"), Node::Of(Slot::new(12_182).unwrap()));
    }
}
