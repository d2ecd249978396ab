use super::Scene; use crate::plan::{Film, Rollout}; use crate::picture::Mode;
pub fn still(_s: &Scene, _f: &Film, _r: Option<&Rollout>, _m: Mode) -> anyhow::Result<Vec<u8>> { anyhow::bail!("later") }
pub fn movie(_s: &Scene, _f: &Film, _r: Option<&Rollout>, _m: Mode) -> anyhow::Result<Vec<u8>> { anyhow::bail!("later") }
