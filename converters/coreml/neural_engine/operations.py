"""Operation types by what is documented of them (ANEForge's operation catalog, hollance/neural-engine)."""

from __future__ import annotations

_ACTIVATIONS = """
    ceil clamped_relu clip elu erf exp exp2 floor gelu leaky_relu log prelu relu relu6 round scaled_tanh sigmoid sigmoid_hard
    sign silu softmax softplus softplus_parametric softsign tanh threshold thresholded_relu
"""
_ARITHMETIC = "abs add atan floor_div inverse maximum minimum mul pow real_div rsqrt sqrt square sub"
_BOOLEANS = "equal greater greater_equal less less_equal logical_not not_equal select"
_PRODUCTS = "avg_pool conv conv_transpose einsum l2_pool linear linear_activation matmul max_pool scaled_dot_product_attention"
_NORMS = "batch_norm instance_norm l2_norm layer_norm local_response_norm"
_REDUCTIONS = """
    reduce_argmax reduce_argmin reduce_l1_norm reduce_l2_norm reduce_log_sum reduce_log_sum_exp reduce_max reduce_mean
    reduce_min reduce_sum reduce_sum_square
"""
_SHAPES = """
    batch_to_space cast concat crop depth_to_space dequantize expand_dims fill fill_like flatten2d gather gather_along_axis
    gather_nd identity pad pixel_shuffle pixel_unshuffle quantize read_state reshape reshape_like reverse slice_by_index
    slice_by_size slice_update space_to_batch space_to_depth split squeeze stack tile transpose write_state
    coreml_update_state
"""
_SEARCHES = "argsort non_maximum_suppression topk"
_NEWER = """
    affine cos crop_resize resample resize resize_bilinear resize_nearest_neighbor sin upsample_bilinear
    upsample_nearest_neighbor
"""
_REFUSED = """
    acos acosh asin asinh atanh band_part classify cond constexpr_cast cosh cumsum custom_layer gru list_gather list_length
    list_read list_scatter list_write logical_and logical_or logical_xor lstm make_list mod non_zero one_hot
    random_bernoulli random_categorical random_normal random_uniform range_1d reduce_prod reverse_sequence rnn scatter
    scatter_along_axis scatter_nd shape sinh sliding_windows tan while_loop
"""

# What scales and shifts a picture's pixels before anything else reads them.
SCALES_AND_SHIFTS = frozenset({"add", "mul", "real_div", "sub"})
# What stands around a product of 8-bit activations.
INT8_ACTIVATIONS = frozenset({"quantize", "dequantize"})
# Sampling needs the texture engine (A14 and later), sine and cosine the A15; older chips fall back.
NEWER_CHIPS = frozenset(_NEWER.split())
UNSUPPORTED = frozenset(_REFUSED.split())
DOCUMENTED = NEWER_CHIPS | frozenset(
    " ".join((_ACTIVATIONS, _ARITHMETIC, _BOOLEANS, _PRODUCTS, _NORMS, _REDUCTIONS, _SHAPES, _SEARCHES)).split()
)
