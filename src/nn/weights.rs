//! Named weights in the layout of the released PyTorch network, so that
//! weights travel both ways.
//!
//! Names: `time_mlp.{1,3}`, `downs.L.{0,1}` (residual blocks) with
//! `blocks.{0,1}.block.{0,2}` (convolution, group norm), `time_mlp.1` and
//! `residual_conv`, `downs.L.2.conv`, `mid_block{1,2}`, `ups.L.{0,1,2}`,
//! `final_conv.0.block.{0,2}`, `final_conv.1`; a duration embedding is
//! `duration_mlp.{1,3}`. Convolutions are `[out, in, kernel]`, transposed ones
//! `[in, out, kernel]`, linear layers `[out, in]`.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

/// One tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// Tensors by PyTorch name.
pub type NamedTensors = BTreeMap<String, HostTensor>;

/// Why weights do not fit a network.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum WeightsError {
    /// A tensor the network needs is absent.
    #[error("the weights lack \"{0}\"; they belong to another architecture")]
    Missing(String),
    /// A tensor has another shape.
    #[error(
        "\"{name}\" is {found:?} in the weights and {expected:?} in the network; they belong to another architecture"
    )]
    Shape {
        /// The tensor's name.
        name: String,
        /// In the file.
        found: Vec<usize>,
        /// In the network.
        expected: Vec<usize>,
    },
    /// A tensor the network does not have.
    #[error(
        "the weights hold \"{0}\", which this network does not have; they belong to another architecture"
    )]
    Unknown(String),
    /// NaN or infinity.
    #[error("\"{0}\" holds numbers that are not finite; train again or take another file")]
    NotFinite(String),
    /// A tensor could not be read back from the device.
    #[error("the device lost \"{0}\"; choose the CPU and try again")]
    Device(String),
}

/// Take out what stands under `prefix`, and its prefix off.
pub fn take_prefixed(named: &mut NamedTensors, prefix: &str) -> NamedTensors {
    let (taken, rest): (NamedTensors, NamedTensors) =
        std::mem::take(named).into_iter().partition(|(name, _)| name.starts_with(prefix));
    *named = rest;
    let short = |name: String| name.strip_prefix(prefix).unwrap_or_default().to_owned();
    taken.into_iter().map(|(name, tensor)| (short(name), tensor)).collect()
}

/// The same tensors under `prefix`.
pub fn prefixed(named: NamedTensors, prefix: &str) -> NamedTensors {
    named.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect()
}

/// Read every weight of `module` to the host.
///
/// # Errors
/// A lost device.
pub fn export<M: Module>(module: &M) -> Result<NamedTensors, WeightsError> {
    let mut export = Export { path: Path::default(), named: NamedTensors::new(), failed: None };
    module.visit(&mut export);
    match export.failed {
        Some(name) => Err(WeightsError::Device(name)),
        None => Ok(export.named),
    }
}

/// Replace every weight of `module`.
///
/// # Errors
/// Names or shapes that do not match, or numbers that are not finite; the
/// module is consumed only on success of the checks made first.
pub fn import<M: Module>(module: M, named: NamedTensors) -> Result<M, WeightsError> {
    for (name, tensor) in &named {
        if !tensor.values.iter().all(|value| value.is_finite()) {
            return Err(WeightsError::NotFinite(name.clone()));
        }
    }
    let mut import = Import { path: Path::default(), named, failed: None };
    let module = module.map(&mut import);
    if let Some(error) = import.failed {
        return Err(error);
    }
    match import.named.into_keys().next() {
        Some(name) => Err(WeightsError::Unknown(name)),
        None => Ok(module),
    }
}

/// Where a visitor stands in the module tree.
#[derive(Default)]
struct Path(Vec<(String, String)>);

impl Path {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.push((name.to_owned(), container.to_owned()));
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    /// The PyTorch name: our field names with the released module's words.
    fn name(&self) -> String {
        let mut words = Vec::new();
        let mut container = String::new();
        for (name, holder) in &self.0 {
            let holder = holder.strip_prefix("Struct:").unwrap_or(holder);
            container.clear();
            container.push_str(holder);
            words.push(word(&container, name));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|w| !w.is_empty()).collect();
        words.join(".")
    }

    /// The layer type that holds the tensor.
    fn layer(&self) -> Layer {
        match self.0.last().map(|(name, holder)| (name.as_str(), holder.as_str())) {
            Some(("weight", "Struct:Linear")) => Layer::Linear,
            Some(("weight", "Struct:Conv1d")) => Layer::Convolution,
            Some(("weight", "Struct:Upsample1d")) => Layer::Transposed,
            _ => Layer::Plain,
        }
    }
}

/// The released network's word for field `name` of module `container`.
fn word(container: &str, name: &str) -> String {
    let word = match (container, name) {
        ("TemporalUnet" | "TemporalEncoder", "mid1") => "mid_block1",
        ("TemporalUnet" | "TemporalEncoder", "mid2") => "mid_block2",
        ("TemporalUnet", "final_block") => "final_conv.0",
        ("TemporalUnet", "final_conv") => "final_conv.1",
        ("Down" | "Up", "block1") => "0",
        ("Down" | "Up", "block2") | ("TimeMlp", "input") => "1",
        ("TimeMlp", "output") => "3",
        ("Down", "halve") | ("Up", "double") => "2.conv",
        ("ResidualBlock", "block1") => "blocks.0",
        ("ResidualBlock", "block2") => "blocks.1",
        ("ResidualBlock", "time") => "time_mlp.1",
        ("ResidualBlock", "residual") => "residual_conv",
        ("ConvBlock", "conv") => "block.0",
        ("ConvBlock", "norm") => "block.2",
        _ => name,
    };
    word.to_owned()
}

#[derive(Clone, Copy)]
enum Layer {
    Linear,
    Convolution,
    Transposed,
    /// Stored as it is.
    Plain,
}

impl Layer {
    /// PyTorch axis order in terms of ours, for a tensor of that rank.
    fn axes(self, rank: usize) -> Vec<usize> {
        match self {
            Layer::Linear => vec![1, 0],
            Layer::Convolution => vec![2, 1, 0],
            Layer::Transposed => vec![1, 2, 0],
            Layer::Plain => (0..rank).collect(),
        }
    }
}

/// Reorder `axes` of a row-major array.
fn permute(tensor: &HostTensor, axes: &[usize]) -> HostTensor {
    let rank = tensor.shape.len();
    let mut strides = vec![1; rank];
    for axis in (0..rank.saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * tensor.shape[axis + 1];
    }
    let shape: Vec<usize> = axes.iter().map(|axis| tensor.shape[*axis]).collect();
    let strides: Vec<usize> = axes.iter().map(|axis| strides[*axis]).collect();
    let mut index = vec![0; rank];
    let mut values = Vec::with_capacity(tensor.values.len());
    for _ in 0..tensor.values.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, stride)| i * stride).sum();
        values.push(tensor.values[at]);
        for axis in (0..rank).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    HostTensor { shape, values }
}

fn inverse(axes: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; axes.len()];
    for (to, from) in axes.iter().enumerate() {
        inverse[*from] = to;
    }
    inverse
}

struct Export {
    path: Path,
    named: NamedTensors,
    failed: Option<String>,
}

impl ModuleVisitor for Export {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        let value = param.val();
        let shape = value.dims().to_vec();
        let values = value.try_into_data().ok().and_then(|data| data.try_to_vec::<f32>().ok());
        match values {
            Some(values) => {
                let axes = self.path.layer().axes(shape.len());
                let tensor = permute(&HostTensor { shape, values }, &axes);
                self.named.insert(name, tensor);
            }
            None => self.failed = Some(name),
        }
    }
}

struct Import {
    path: Path,
    named: NamedTensors,
    failed: Option<WeightsError>,
}

impl Import {
    fn take(&mut self, expected: &[usize]) -> Result<HostTensor, WeightsError> {
        let name = self.path.name();
        let found = self.named.remove(&name).ok_or_else(|| WeightsError::Missing(name.clone()))?;
        let axes = self.path.layer().axes(expected.len());
        let theirs: Vec<usize> = axes.iter().map(|axis| expected[*axis]).collect();
        let n: usize = theirs.iter().product();
        if found.shape != theirs || found.values.len() != n {
            return Err(WeightsError::Shape { name, found: found.shape, expected: theirs });
        }
        Ok(permute(&found, &inverse(&axes)))
    }
}

impl ModuleMapper for Import {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        let value = match self.take(&value.dims()) {
            Ok(tensor) => {
                let data = TensorData::new(tensor.values, tensor.shape);
                let tracked = value.is_require_grad();
                let loaded = Tensor::from_data(data, &value.device());
                if tracked { loaded.require_grad() } else { loaded }
            }
            Err(error) => {
                self.failed.get_or_insert(error);
                value
            }
        };
        Param::from_mapped_value(id, value, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::temporal_unet::{TemporalUnet, TemporalUnetConfig};
    use burn::tensor::Device;

    fn net(seed: u64) -> TemporalUnet {
        let config = TemporalUnetConfig {
            channels: 4,
            width: 32,
            multipliers: vec![1, 2],
            with_duration: true,
        };
        config.init(seed, &Device::flex())
    }

    #[test]
    fn names_and_shapes_are_those_of_the_released_network() {
        let named = export(&net(1)).unwrap();
        let shape = |name: &str| named.get(name).map(|t| t.shape.clone());
        assert_eq!(shape("time_mlp.1.weight"), Some(vec![128, 32]));
        assert_eq!(shape("downs.0.0.blocks.0.block.0.weight"), Some(vec![32, 4, 5]));
        assert_eq!(shape("downs.0.0.blocks.0.block.2.bias"), Some(vec![32]));
        assert_eq!(shape("downs.0.0.residual_conv.weight"), Some(vec![32, 4, 1]));
        assert_eq!(shape("downs.0.2.conv.weight"), Some(vec![32, 32, 3]));
        assert_eq!(shape("mid_block1.time_mlp.1.weight"), Some(vec![64, 32]));
        assert_eq!(shape("ups.0.0.blocks.1.block.0.weight"), Some(vec![32, 32, 5]));
        assert_eq!(shape("ups.0.2.conv.weight"), Some(vec![32, 32, 4]));
        assert_eq!(shape("final_conv.0.block.2.weight"), Some(vec![32]));
        assert_eq!(shape("final_conv.1.weight"), Some(vec![4, 32, 1]));
        assert_eq!(shape("duration_mlp.3.bias"), Some(vec![32]));
    }

    #[test]
    fn exported_weights_import_into_the_same_function() {
        let (a, b) = (net(1), net(2));
        let x = Tensor::<3>::ones([1, 8, 4], &Device::flex());
        let run = |net: &TemporalUnet| -> Vec<f32> {
            net.forward(x.clone(), &[1.0], &[50.0]).into_data().try_to_vec().unwrap()
        };
        assert_ne!(run(&a), run(&b));
        let copy = import(b, export(&a).unwrap()).unwrap();
        assert_eq!(run(&a), run(&copy));
    }

    #[test]
    fn wrong_weights_are_named() {
        let mut named = export(&net(1)).unwrap();
        named.remove("mid_block1.time_mlp.1.weight");
        assert_eq!(
            import(net(2), named.clone()).err(),
            Some(WeightsError::Missing("mid_block1.time_mlp.1.weight".into()))
        );
        let mut named = export(&net(1)).unwrap();
        named.insert("extra".into(), HostTensor { shape: vec![1], values: vec![0.0] });
        assert_eq!(import(net(2), named).err(), Some(WeightsError::Unknown("extra".into())));
        let mut named = export(&net(1)).unwrap();
        if let Some(tensor) = named.get_mut("final_conv.1.bias") {
            tensor.values[0] = f32::NAN;
        }
        assert_eq!(
            import(net(2), named).err(),
            Some(WeightsError::NotFinite("final_conv.1.bias".into()))
        );
    }
}
