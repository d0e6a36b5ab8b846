"""What run.py prints of its figures: a line each."""

# Dense TFLOP/s of tensor cores in f16 and bf16, by the vendor's data sheets.
PEAKS = {"H200": 989, "H100 80GB HBM3": 989, "H100 PCIe": 756, "A100": 312}


def shown(sizes):
    return " ".join(f"{name}={value}" for name, value in sizes.items())


def kernel_head():
    return f"\n{'kernel':38} {'M':>7} {'us':>9} {'call us':>9} {'TFLOP/s':>8} {'peak':>5} {'GB/s':>8} {'peer us':>9} {'ratio':>6}"


def kernel_line(row, device):
    start = f"{row['name']:38} {row['m']:>7}"
    if "us" not in row:
        return f"{start}  not measured: {row.get('failed') or row.get('message')}"
    peak = next((value for name, value in PEAKS.items() if name in device), None)
    share = f"{row['tflop_s'] / peak:5.0%}" if peak and row["dtype"] != "f32" and row["tflop_s"] else f"{'':5}"
    peer = f"{row['peer_us']:9.1f} {row['peer_us'] / row['us']:6.2f}" if "peer_us" in row else f"{'-':>9} {'-':>6}"
    longest = f"  [{row['steps']} steps, the longest {row['longest_step_us']:.1f}]" if row["steps"] > 1 else ""
    return f"{start} {row['us']:9.1f} {row['call_us']:9.1f} {row['tflop_s']:8.1f} {share} {row['gb_s']:8.0f} {peer}  {row.get('peer', '')}{longest}"


def model_head():
    return f"\n{'network':22} {'sizes':18} {'ms':>9} {'fixed ms':>9} {'steps ms':>9} {'steps':>6} {'a second':>9}"


def model_line(row):
    """Of the product for any extents and of the one for these; the rest is the former's."""
    ms = lambda side: f"{side['ms']:9.3f}" if "ms" in side else f"{'-':>9}"  # noqa: E731
    rest = f"{row['steps_ms']:9.3f} {row['steps']:6} {row['sizes']['N'] / row['ms'] * 1e3:9.0f}" if "ms" in row else ""
    why = "".join(f"  {side['failed']}" for side in (row, row["fixed"]) if "failed" in side)
    return f"{row['name']:22} {shown(row['sizes']):18} {ms(row)} {ms(row['fixed'])} {rest}{why}"


def training_head():
    return f"\n{'training':16} {'optimiser':9} {'f32':5} {'engine':20} {'ms':>9} {'ratio':>6} {'steps ms':>9} {'steps':>6} {'MB':>7} {'largest error':>14}"


def training_line(row):
    start = f"{row['graph']:16} {row['optimizer']:9} {row['f32']:5} {'':20}"
    if "ms" not in row:
        return f"{start} not measured: {row['failed']}"
    error = f"{'-':>14}" if row["largest_error"] is None else f"{row['largest_error']:14.1e}"
    return f"{start} {row['ms']:9.3f} {'':6} {row['steps_ms']:9.3f} {row['steps']:6} {row['used_mb']:7.0f} {error}{'' if row['passed'] else '  FAILED its check'}"


def training_peer_line(row, engine, found, why):
    start = f"{row['graph']:16} {row['optimizer']:9} {row['f32']:5} {engine:20}"
    if "ms" not in found:
        return f"{start} not measured: {found.get('failed', why)}"
    ratio = f"{found['ms'] / row['ms']:6.2f}" if "ms" in row else f"{'-':>6}"
    return f"{start} {found['ms']:9.3f} {ratio} {'':9} {'':6} {found['used_mb']:7.0f}"


def peer_head():
    return f"\n{'network':22} {'sizes':18} {'peer':16} {'peer ms':>9} {'ratio':>6}"


def peer_line(row, peer, found, why):
    """The ratio is to the product for any extents."""
    ratio = f"{found['ms'] / row['ms']:6.2f}" if found and "ms" in row else f"{'-':>6}"
    figures = f"{found['ms']:9.3f} {ratio}" if found else f"not measured: {why}"
    return f"{row['name']:22} {shown(row['sizes']):18} {peer:16} {figures}"
