//! How much a shard may hold, and in which unit.

use crate::Access;

/// What an entry weighs against the capacity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Weigh {
    /// Each entry weighs 1: the capacity is a number of objects.
    #[default]
    Objects,
    /// Each entry weighs its size, at least 1: the capacity is a number of bytes.
    Bytes,
}

impl Weigh {
    /// The weight of the value of `access`.
    #[inline]
    pub const fn weight(self, access: &Access) -> u32 {
        match self {
            Self::Objects => 1,
            Self::Bytes if access.size == 0 => 1,
            Self::Bytes => access.size,
        }
    }
}

/// How much a shard may hold, and in which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The greatest total weight.
    pub limit: u64,
    /// The unit.
    pub weigh: Weigh,
}

impl Capacity {
    /// A number of objects.
    pub const fn objects(limit: u64) -> Self {
        Self { limit, weigh: Weigh::Objects }
    }

    /// A number of bytes.
    pub const fn bytes(limit: u64) -> Self {
        Self { limit, weigh: Weigh::Bytes }
    }

    /// The most entries there can be, where the unit tells.
    pub fn most_objects(self) -> Option<usize> {
        match self.weigh {
            Weigh::Objects => usize::try_from(self.limit).ok(),
            Weigh::Bytes => None,
        }
    }
}
