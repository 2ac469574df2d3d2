//! Which node of a cluster holds which slot, as the cluster says. It may be out of date: a node answers for a slot that
//! it does not hold with an error, and the client finds the right one.

use std::collections::HashMap;
use std::sync::Arc;

use redis::cluster_routing::Slot;
use redis::{RedisResult, Value, from_redis_value};

use crate::connection::Connection;

/// Where a queue lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// A node by its address and its id: the same in each answer of the cluster.
    Known(Arc<str>),
    /// The node of this slot, whichever that is.
    Of(Slot),
}

/// The nodes by slot; empty before the cluster was asked.
#[derive(Debug, Default)]
pub(crate) struct Nodes(HashMap<Slot, Arc<str>>);

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
        let mut nodes = HashMap::new();
        for range in told {
            let Value::Array(range) = range else { continue };
            let [Value::Int(first), Value::Int(last), master, ..] = &range[..] else { continue };
            let Some(node) = name_of(master) else { continue };
            let slots = (*first..=*last).filter_map(|slot| Slot::new(u16::try_from(slot).ok()?));
            nodes.extend(slots.map(|slot| (slot, Arc::clone(&node))));
        }
        Self(nodes)
    }

    /// The node that holds the slot of this name.
    pub(crate) fn of(&self, name: &str) -> Node {
        let slot = Slot::for_key(name);
        self.0.get(&slot).map_or(Node::Of(slot), |node| Node::Known(Arc::clone(node)))
    }
}

/// The host, the port and the id of a master. A cluster may leave out the host, and old ones have no ids.
fn name_of(master: &Value) -> Option<Arc<str>> {
    let Value::Array(parts) = master else { return None };
    let text = |part: &Value| from_redis_value::<Option<String>>(part.clone()).ok().flatten();
    let parts: Vec<_> = parts.iter().take(3).map(|part| text(part).unwrap_or_default()).collect();
    Some(parts.join(" ").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_one_node_are_found_together_and_those_of_no_known_node_by_slot() {
        // The slots of "foo" and "bar" are 12182 and 5061.
        let nodes =
            Nodes::read(&[range(0, 5_060, 1), range(5_061, 9_000, 2), range(12_182, 12_182, 2)]);
        assert_eq!((nodes.of("foo"), nodes.of("{bar}:in")), (known(2), known(2)));
        assert_eq!(nodes.of("bar"), known(2));
        let unknown = Nodes::read(&[Value::Nil, Value::Array(Vec::new())]);
        assert_eq!(unknown.of("foo"), Node::Of(Slot::new(12_182).unwrap()));
    }

    #[test]
    fn a_node_is_the_same_in_each_answer_in_whatever_order_the_cluster_lists_its_slots() {
        let before = Nodes::read(&[range(0, 9_000, 1), range(12_182, 12_182, 2)]);
        let after = Nodes::read(&[range(12_182, 12_182, 2), range(0, 9_000, 1)]);
        assert_eq!(before.of("bar"), after.of("bar"));
        assert_ne!(before.of("bar"), after.of("foo"));
    }

    fn range(first: i64, last: i64, port: i64) -> Value {
        let id = Value::BulkString(format!("id-{port}").into());
        let master = vec![Value::SimpleString("h".into()), Value::Int(port), id];
        let range = [Value::Int(first), Value::Int(last), Value::Array(master), Value::Nil];
        Value::Array(range.into())
    }

    fn known(port: i64) -> Node {
        Node::Known(format!("h {port} id-{port}").into())
    }
}
