"""What JAX takes for cubes of bf16: prints {edge: microseconds} as JSON. Many products between two waits."""
import json
import statistics
import time

import jax
import jax.numpy as jnp


def microseconds(edge, runs=50):
    keys = jax.random.split(jax.random.PRNGKey(0))
    a, b = (jax.random.normal(key, (edge, edge), jnp.bfloat16) for key in keys)
    multiply = jax.jit(jnp.matmul)
    multiply(a, b).block_until_ready()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(runs):
            result = multiply(a, b)
        result.block_until_ready()
        times.append((time.perf_counter() - start) / runs * 1e6)
    return statistics.median(times)


if __name__ == "__main__":
    print(json.dumps({edge: microseconds(edge) for edge in (2048, 4096, 8192)}))
