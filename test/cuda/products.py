"""Products for CUDA through their C interface: tensors in the device's memory, graphs, strings, threads. See check.py."""
import ctypes
import os
import tempfile

import numpy as np

import small_models
from emulate import difference, emulated
from loop_products import LOOP_GROUPS
from product import Options, Product
from watch import Counts, DeviceMemory, Waits, at_the_same_time, failing, refused

FLOAT, INT64, STRING = 1, 7, 8


def inputs(rows, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, 24)).astype(np.float32)


def fits(got, expected):
    return difference(got[0].astype(np.float64), expected[0]) < 1e-5 and np.array_equal(got[1], expected[1])


def shapes_and_graphs(library, driver):
    asked = driver.calls("cuFuncGetAttribute")
    with Product(library) as product:
        for rows in (1, 3, 3, 3, 0, 1, 200, 1):
            x = inputs(rows, rows)
            yield f"{rows} rows", fits(product.run({"x": x}), small_models.classify(x))
        started, launched, told = (driver.calls(name) for name in ("cuGraphLaunch", "cuLaunchKernel", "cuGraphExecKernelNodeSetParams"))
        x = inputs(1)
        for _ in range(3):
            product.bind({"x": x})
            product.step()
        yield "the same shapes again: a graph a run, no launch", (
            driver.calls("cuGraphLaunch") == started + 3 and driver.calls("cuLaunchKernel") == launched)
        yield "the same tensors again: no node is told anew", driver.calls("cuGraphExecKernelNodeSetParams") == told
        for seed in range(4):   # a kernel that runs too early sees what the run before left
            x = inputs(1, 100 + seed)
            yield f"other values, graph {seed}", fits(product.run({"x": x}), small_models.classify(x))
        product.profile_enable(True)
        started = driver.calls("cuGraphLaunch")
        product.step()
        yield "what kernels need was not asked before", driver.calls("cuFuncGetAttribute") == asked
        yield "profiled: no graph, a time for the kernels", driver.calls("cuGraphLaunch") == started and sum(product.profile()) > 0
        cancel = ctypes.c_int(1)
        yield "cancelled", refused(lambda: product.step(cancel), 4, "cancelled")


def alternating(library, driver):
    """Shapes that come again keep their graphs, up to four; then the one unused for longest goes on with other shapes."""
    with Product(library) as product:
        def counted(*turns):
            counts = Counts(driver)
            wrong = [rows for turn, rows in enumerate(turns) if not fits(product.run({"x": inputs(rows, turn)}), small_models.classify(inputs(rows, turn)))]
            assert not wrong, f"wrong values of {wrong}"
            return counts

        yield "two shapes by turns: a graph each", counted(2, 7, 2, 7, 2, 7, 2, 7).cuGraphInstantiateWithFlags == 2
        yield "four shapes", counted(11, 4, 11, 4, 2, 7, 11, 4).cuGraphInstantiateWithFlags == 2
        counts = counted(2, 7, 4, 11, 7, 2)
        yield "by turns: none is made again", counts.cuGraphInstantiateWithFlags == counts.cuLaunchKernel == 0
        counts = counted(*[5, 11, 4, 2, 7] * 3)
        yield "five shapes: none is made or left out", (
            counts.cuGraphInstantiateWithFlags == counts.cuLaunchKernel == 0 and counts.cuGraphLaunch == 15 and counts.cuGraphExecKernelNodeSetParams > 0)
        yield "nothing at all", counted(0).cuGraphLaunch == 0
        counts = counted(7, 2, 4, 7, 2, 4)
        yield "has taken the place of the one unused for longest", counts.cuGraphInstantiateWithFlags == counts.cuLaunchKernel == 0


def growing(library, driver):
    """A shape that no run has twice has a graph all the same, also behind others that are not done."""
    memory, steps, row = DeviceMemory(driver), 20, 8 * 4
    rng = np.random.default_rng(0)
    past, news = rng.standard_normal((3, 8)).astype(np.float32), [rng.standard_normal((1, 8)).astype(np.float32) for _ in range(steps)]
    expected = []
    for x in news:
        expected.append(small_models.attend(expected[-1][1] if expected else past, x))
    with Product(library) as product:
        counts, remembered, right = Counts(driver), past, True
        for x, (y, _) in zip(news, expected):
            found, remembered = product.run({"past": remembered, "x": x})
            right = right and difference(found.astype(np.float64), y) < 1e-5
        yield "values", right and np.array_equal(remembered, expected[-1][1])
        yield f"{counts.cuGraphLaunch} of {steps} runs are graphs, of {counts.cuGraphInstantiateWithFlags}", (
            counts.cuGraphLaunch == steps - 1 and counts.cuGraphInstantiateWithFlags <= 4)
        yield f"{counts.cuLaunchKernel} launches one by one", counts.cuLaunchKernel < 8
    stream = memory.stream()
    ys, places = [memory.take(row) for _ in news], [memory.take(row) for _ in news]
    caches = [memory.take(row * (3 + turn)) for turn in range(steps + 1)]
    memory.write(caches[0], past)
    for place, x in zip(places, news):
        memory.write(place, x)
    with Product(library, cuda_stream=stream) as product:
        for turn in range(steps):
            if turn == 1:
                counts = Counts(driver)
            for slot, rows, address in ((0, 3 + turn, caches[turn]), (1, 1, places[turn]), (2, 1, ys[turn]), (3, 4 + turn, caches[turn + 1])):
                product.bind_address(slot, FLOAT, (rows, 8), address, rows * row, device=1)
            product.step()
        yield "in a stream: nobody waits", counts.cuStreamSynchronize == 0 and counts.cuGraphLaunch == steps - 1
        memory.wait_for(stream)
        yield "and their values", all(difference(memory.read(at, news[0]).astype(np.float64), y) < 1e-5 for at, (y, _) in zip(ys, expected))
        yield "and what they leave", np.array_equal(memory.read(caches[-1], expected[-1][1]), expected[-1][1])
    memory.give_back()


def without_graphs(library, driver):
    """Where the driver refuses a graph, its kernels are launched one by one, and it is not tried again."""
    for call in ("cuGraphCreate", "cuGraphAddKernelNode", "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuGraphExecKernelNodeSetParams"):
        told = call == "cuGraphExecKernelNodeSetParams"
        with Product(library) as product:
            for rows in (11, 12, 13, 14, 11) if told else ():   # graphs that are told of others
                product.run({"x": inputs(rows)})
            counts, tried = Counts(driver), driver.calls(call)
            with failing(call, 2):
                for turn, rows in enumerate((3, 3, 3, 3, 9, 9, 1)):
                    x = inputs(rows, turn)
                    yield f"{call} fails, run {turn}", fits(product.run({"x": x}), small_models.classify(x)) and not product.error()
            tries = driver.calls(call) - tried
            yield f"{call} was tried {tries} times", tries == (3 if told else 1) and counts.cuLaunchKernel > 7
            x = inputs(3, 9)
            started = Counts(driver)
            yield f"{call} does not fail any more", fits(product.run({"x": x}), small_models.classify(x)) and started.cuGraphLaunch == 0
    with Product(library) as product:
        product.run({"x": inputs(3)})
        with failing("cuGraphLaunch", 719):
            product.run({"x": inputs(3)})
        with failing("cuLaunchKernel", 719):
            yield "what is wrong with the launches too is told", refused(lambda: product.run({"x": inputs(3)}), 13, "CUDA_ERROR_LAUNCH_FAILED")


def host_kernels(library, driver):
    """One that the host runs between the device's, on copies."""
    x, z = np.random.default_rng(5).standard_normal((2, 40000)).astype(np.float32)
    expected_of = lambda x: np.exp(z[np.argsort(-np.abs(x), kind="stable")[:20000]])
    expected = expected_of(x)
    memory = DeviceMemory(driver)
    place = memory.take(x.nbytes)
    with Product(library) as product:
        yield "values", np.allclose(product.run({"x": x, "z": z})[0], expected, rtol=1e-5)
        yield "others", np.allclose(product.run({"x": x[::-1].copy(), "z": z})[0], expected_of(x[::-1]), rtol=1e-5)
        yield "equal ones", np.allclose(product.run({"x": 0 * x, "z": z})[0], expected_of(0 * x), rtol=1e-5)
        yield "an index that the host finds", refused(lambda: product.run({"x": x, "z": z[:7]}), 2, "index is out of range")
        memory.write(place, x)
        product.bind({"x": x, "z": z})
        product.bind_address(0, FLOAT, x.shape, place, x.nbytes, device=1)
        product.step()
        yield "of the device's memory", np.allclose(product.results()[0], expected, rtol=1e-5)
        product.profile_enable(True)
        product.step()
        names = [name for _, name, _ in product.profiled_steps()]
        yield f"profiled under its name: {names}", any(name.startswith("top_k host") for name in names)
    memory.give_back()


def device_tensors(library, driver):
    memory = DeviceMemory(driver)
    x = inputs(5)
    expected = small_models.classify(x)
    place, moved, result = memory.take(x.nbytes), memory.take(x.nbytes), memory.take(5 * 8 * 4)
    memory.write(place, x)
    memory.write(moved, inputs(5, 1))
    with Product(library) as product:
        copied, waited = driver.calls("cuMemcpyHtoDAsync_v2"), driver.calls("cuStreamSynchronize")
        product.bind_address(0, FLOAT, (5, 24), place, x.nbytes, device=1)
        product.bind_address(1, FLOAT, (5, 8), result, 5 * 8 * 4, device=1)
        yield "binding waits for nothing", driver.calls("cuStreamSynchronize") == waited
        for turn in range(3):
            product.step()
            y = memory.read(result, expected[0].astype(np.float32))
            yield f"tensors of the device, run {turn}", difference(y.astype(np.float64), expected[0]) < 1e-5
        yield "an output that is not bound is in host memory", np.array_equal(product.result(1), expected[1])
        yield "an input in the device's memory is not copied", driver.calls("cuMemcpyHtoDAsync_v2") == copied
        product.bind_address(0, FLOAT, (5, 24), moved, x.nbytes, device=1)
        product.step()
        y = memory.read(result, expected[0].astype(np.float32))
        yield "moved to other memory", difference(y.astype(np.float64), small_models.classify(inputs(5, 1))[0]) < 1e-5
        yield "host memory as the device's", refused(
            lambda: product.bind_address(0, FLOAT, (5, 24), x.ctypes.data, x.nbytes, device=1), 1, "its data is no memory of device 0")
        yield "not aligned", refused(
            lambda: product.bind_address(0, FLOAT, (5, 24), place + 4, x.nbytes, device=1), 1, "not aligned to 16 bytes")
        yield "beyond the allocation", refused(
            lambda: product.bind_address(0, FLOAT, (5, 24), place + 32, x.nbytes, device=1), 1,
            f"input 'x': {x.nbytes} bytes of memory, of which device 0 (stand-in 0) has {x.nbytes - 32} there")
        product.bind_address(0, FLOAT, (4, 24), place + 96, x.nbytes - 96, device=1)
        product.bind_address(1, FLOAT, (4, 8), result, 4 * 8 * 4, device=1)
        product.step()
        y = memory.read(result, expected[0][1:].astype(np.float32))
        yield "up to its end", difference(y.astype(np.float64), expected[0][1:]) < 1e-5
        yield "a device that there is not", refused(
            lambda: product.bind_address(0, FLOAT, (5, 24), place, x.nbytes, device=2), 1, "not in host memory")
    memory.give_back()


def callers_stream(library, driver):
    """Runs that are only put into the caller's stream."""
    memory = DeviceMemory(driver)
    stream, size = memory.stream(), 5 * 8 * 4
    xs = [inputs(5, seed) for seed in range(4)]
    expected = [small_models.classify(x) for x in xs]
    places, results = [memory.take(x.nbytes) for x in xs], [(memory.take(size), memory.take(5 * 8)) for _ in xs]
    for place, x in zip(places, xs):
        memory.write(place, x)

    def found(y, best):
        return memory.read(y, np.zeros((5, 8), np.float32)), memory.read(best, np.zeros(5, np.int64))

    with Product(library, cuda_stream=stream) as product:
        waits = Waits(driver)
        for place, (y, best) in zip(places, results):
            product.bind_address(0, FLOAT, (5, 24), place, xs[0].nbytes, device=1)
            product.bind_address(1, FLOAT, (5, 8), y, size, device=1)
            product.bind_address(2, INT64, (5,), best, 5 * 8, device=1)
            product.step()
        yield "four runs, other tensors each: nobody waits", waits.none() and driver.calls("cuGraphLaunch") > 0
        yield "nor are they done", all(np.isnan(found(*result)[0]).all() for result in results)
        memory.wait_for(stream)
        for turn, (result, right) in enumerate(zip(results, expected)):
            yield f"run {turn}, when the stream is through", fits(found(*result), right)
        waits = Waits(driver)
        for slot, (code, shape) in enumerate(((FLOAT, (5, 8)), (INT64, (5,))), 1):
            product.bind_address(slot, code, shape, None, 0, device=1)
        product.step()
        addresses = [product.output_tensor(i).data for i in range(2)]
        yield "outputs of the instance's in the device's memory: nobody waits", waits.none()
        memory.wait_for(stream)
        yield "and their values", fits(found(*addresses), expected[3])
        product.step()
        product.bind_address(1, FLOAT, (5, 8), None, 0)
        waits = Waits(driver)
        product.step()
        yield "an output in host memory is waited for", not waits.none() and difference(product.result(0).astype(np.float64), expected[3][0]) < 1e-5
        product.bind_address(1, FLOAT, (5, 8), None, 0, device=1)
        product.profile_enable(True)
        waits = Waits(driver)
        product.step()
        yield "a profiled run is waited for", not waits.none() and sum(product.profile()) > 0
        product.profile_enable(False)
        product.step()
        os.environ["STANDIN_FAIL"] = f"cuStreamSynchronize:700@{driver.calls('cuStreamSynchronize') + 1}"
        yield "a device's error is told by who waits", refused(product.wait, 13, "running the model: CUDA_ERROR_ILLEGAL_ADDRESS")
        del os.environ["STANDIN_FAIL"]
        product.step()   # is under way when the instance is destroyed
    legacy = 1
    with Product(library, cuda_stream=legacy) as product:
        product.bind_address(0, FLOAT, (5, 24), places[1], xs[0].nbytes, device=1)
        for slot, (code, shape) in enumerate(((FLOAT, (5, 8)), (INT64, (5,))), 1):
            product.bind_address(slot, code, shape, None, 0, device=1)
        product.step()
        yield "the default stream", fits(found(*(product.output_tensor(i).data for i in range(2))), expected[1])
    memory.give_back()


def ending(library, driver):
    """An instance that ends waits for its runs, whatever there is of its own to give back."""
    memory = DeviceMemory(driver)
    x = np.arange(-4, 5, dtype=np.float32)
    place, result = memory.take(x.nbytes), memory.take(x.nbytes)
    memory.write(place, x)
    with Product(library):   # keeps what instances share
        product = Product(library, cuda_stream=memory.stream())
        product.bind_address(0, FLOAT, (9,), place, x.nbytes, device=1)
        product.bind_address(1, FLOAT, (9,), result, x.nbytes, device=1)
        product.step()
        yield "under way", np.isnan(memory.read(result, x)).all()
        product.close()
        yield "done when the instance is gone", np.array_equal(memory.read(result, x), np.maximum(x, 0))
    memory.give_back()


def wrong_values(library, driver):
    """Of runs that are only put into a stream."""
    memory = DeviceMemory(driver)
    stream, x = memory.stream(), np.arange(1, 6, dtype=np.float32)
    place, result = memory.take(x.nbytes), memory.take(8)
    good, bad = memory.take(16), memory.take(16)
    memory.write(place, x)
    memory.write(good, np.array([4, 0]))
    memory.write(bad, np.array([0, 5]))
    with Product(library, cuda_stream=stream) as product:
        product.bind_address(0, FLOAT, (5,), place, x.nbytes, device=1)
        product.bind_address(2, FLOAT, (2,), result, 8, device=1)

        def put(at):
            product.bind_address(1, INT64, (2,), at, 16, device=1)
            product.step()

        waits = Waits(driver)
        put(bad)
        put(good)
        yield "nobody waits", waits.none()
        yield "told by a wait, though the run behind it was right", refused(product.wait, 2, "node")
        product.wait()
        put(good)
        product.wait()
        yield "told once", np.array_equal(memory.read(result, np.zeros(2, np.float32)), [5, 1])
        put(bad)
        product.bind({"x": x, "at": np.array([1, 2])})
        yield "told by a run that waits", refused(product.step, 2, "node")
        yield "which then has not run", np.array_equal(memory.read(result, np.zeros(2, np.float32))[:1], [1])
        product.step()
        yield "told once by runs", np.array_equal(memory.read(result, np.zeros(2, np.float32)), [2, 3])
    memory.give_back()


def training(library, driver):
    """Steps that are only put into the caller's stream; who looks at the states waits for them."""
    memory = DeviceMemory(driver)
    x, labels = inputs(5), np.array([3, 1, 4, 1, 5])
    places = memory.take(x.nbytes), memory.take(labels.nbytes)
    memory.write(places[0], x)
    memory.write(places[1], labels)
    with Product(library) as waiting, Product(library, cuda_stream=memory.stream()) as product:
        losses = [waiting.call("train_step", {"x": x, "labels": labels})["loss"] for _ in range(3)]
        waits = Waits(driver)
        product.bind_address(0, FLOAT, x.shape, places[0], x.nbytes, device=1)
        product.bind_address(1, INT64, labels.shape, places[1], labels.nbytes, device=1)
        for slot, code in ((3, FLOAT), (4, INT64)):   # loss, correct
            product.bind_address(slot, code, (), None, 0, device=1)
        entry = product.entry_index("train_step")
        for _ in range(3):
            product.step(entry=entry)
        yield "three steps: nobody waits", waits.none()
        with tempfile.TemporaryDirectory() as folder:
            product.save(os.path.join(folder, "checkpoint"))
            waiting.load(os.path.join(folder, "checkpoint"))
        yield "saving waits", waiting.state("step") == 3
        product.step(entry=entry)
        yield "a look at a state waits", product.state("step") == 4
        losses.append(waiting.call("train_step", {"x": x, "labels": labels})["loss"])
        yield "the same loss", memory.read(product.output_tensor(1).data, losses[-1]) == losses[-1] and losses[-1] < losses[0]
        yield "the same parameters", np.array_equal(product.state("W"), waiting.state("W"))
    memory.give_back()


def beginning(library, driver):
    """States are made on the device: those that begin as zero without a copy from the host."""
    with Product(library) as product:
        first = product.state("W")   # all states are there from the first look at one
        zeros = [name for name, (_, kind, _, _) in product.states.items() if kind == 2]   # moments
        yield f"{len(zeros)} moments are zero", len(zeros) == 2 and all(not product.state(name).any() for name in zeros)
        x, labels = inputs(5), np.array([3, 1, 4, 1, 5])
        product.call("train_step", {"x": x, "labels": labels})
        yield "until they are not", all(product.state(name).any() for name in zeros)
    memory = DeviceMemory(driver)
    before = memory.used()
    with Product(library) as product:
        yield "what only states begin as is not there before them", memory.used() - before < 1024 < first.nbytes
        copied, cleared = driver.calls("cuMemcpyHtoDAsync_v2"), driver.calls("cuMemsetD8Async")
        yield "another instance begins alike", np.array_equal(product.state("W"), first)
        yield "zeros are not copied", driver.calls("cuMemsetD8Async") - cleared >= 2 and driver.calls("cuMemcpyHtoDAsync_v2") - copied <= 2
    memory.give_back()


def feedback(library, driver):
    """An output of the instance's in the device's memory, bound as the next run's input."""
    memory = DeviceMemory(driver)
    x = np.arange(9, dtype=np.float32)
    with Product(library) as product:
        product.bind({"x": x})
        product.bind_address(1, FLOAT, (9,), None, 0, device=1)
        product.step()
        for turn in range(4):
            found = product.output_tensor(0)
            yield f"turn {turn}", found.device == 1 and np.array_equal(memory.read(found.data, x), x + 2 * (turn + 1))
            product.bind_address(0, FLOAT, (9,), found.data, found.bytes, device=1)
            product.step()
    memory.give_back()


def chosen(library, driver):
    with Product(library) as product:
        for count in (4, 4, 0, 9):
            x = np.random.default_rng(count).standard_normal(count + 1).astype(np.float32)
            where, taken = product.run({"x": x, "at": np.array([count, 0])})
            yield f"{count}", np.array_equal(where, np.array(np.nonzero(x > 0))) and np.array_equal(taken, x[[count, 0]])
        yield "an index out of range", refused(lambda: product.run({"x": np.ones(3, np.float32), "at": np.array([3])}), 2, "node")
        where, taken = product.run({"x": np.ones(3, np.float32), "at": np.array([2])})
        yield "and in range again", taken[0] == 1 and where.shape == (1, 3)


def words(library, driver):
    a, b = np.array(["ab", "", "ß", "x"], object), np.array(["c", "", "", "x"], object)
    with Product(library) as product:
        for _ in range(2):
            joined, same = product.run({"a": a, "b": b})
            yield "strings", list(joined) == ["abc", "", "ß", "xx"] and list(same) == [False, True, False, True]


def in_threads(library, driver):
    """Instances of one model, each in its thread: they share module and weights."""
    wrong = []

    def work(number):
        with Product(library) as product:
            for turn in range(6):
                x = inputs(1 + (number + turn // 3) % 4, number)
                if not fits(product.run({"x": x}), small_models.classify(x)):
                    wrong.append(number)

    with Product(library):
        loaded = driver.calls("cuModuleLoadData")
        at_the_same_time(work, *((number,) for number in range(4)))
    yield f"four threads: {len(wrong)} wrong", not wrong
    yield "the code is loaded once", driver.calls("cuModuleLoadData") == loaded


def options(library, driver):
    """Programs built before there were options for CUDA say a smaller size; what a size leaves out is 0."""
    product = ctypes.CDLL(library)
    instance = ctypes.c_void_p()
    for size, status in ((40, 0), (48, 0), (56, 0), (39, 1), (32, 1)):
        given = Options(size=size, max_loop=7, cuda_device=9 if size < 56 else 0)
        found = product.classifier_create(ctypes.byref(given), ctypes.byref(instance))
        yield f"{size} bytes: status {found}", found == status
        product.classifier_destroy(instance)


def limits(library, driver):
    with Product(library, max_bytes=100) as product:
        yield "max_bytes", refused(lambda: product.run({"x": inputs(64)}), 5, "max_bytes allows 100")


def large(seed):
    """Inputs of LARGE, and what it computes."""
    rng = np.random.default_rng(seed)
    feeds = {name: (rng.standard_normal(shape) * scale).astype(np.float16)
             for name, shape, scale in (("x", (1000, 216), 1), ("w", (216, 2040), 0.1), ("v", (2040, 8), 0.1))}
    y = np.maximum(feeds["x"].astype(np.float32) @ feeds["w"].astype(np.float32), 0)
    return feeds, (y, y @ feeds["v"].astype(np.float32))


def near(found, expected):
    return all(difference(a.astype(np.float64), b.astype(np.float64)) < 1e-3 for a, b in zip(found, expected))


def products_alone(library, driver):
    with Product(library) as product:
        feeds, expected = large(0)
        yield "products of f16", near(product.run(feeds), expected)


def tensor_maps(library, driver):
    """They hold addresses: a graph whose operands moved is told of new ones."""
    memory, half = DeviceMemory(driver), 10
    places = [memory.take(1000 * 216 * 2) for _ in range(2)]
    with Product(library) as product:
        for seed in range(4):
            feeds, expected = large(seed)
            memory.write(places[seed % 2], feeds["x"])
            product.bind(feeds)
            product.bind_address(0, half, (1000, 216), places[seed % 2], 1000 * 216 * 2, device=1)
            product.step()
            found = [product.result(0), product.result(1)]
            yield f"run {seed}", near(found, expected)
    memory.give_back()
    yield "maps were made anew", driver.calls("cuTensorMapEncodeTiled") == 4 * 3
    yield "and kernels may start early", driver.calls("cuGraphAddDependencies_v2") > 0


def odd_maps(library, driver):
    with Product(library) as product:
        for depth in (40, 0):
            rng = np.random.default_rng(depth)
            feeds = {name: (rng.standard_normal(shape) * 0.1).astype(np.float16)
                     for name, shape in (("x", (2048, 64)), ("w", (64, 2048)), ("a", (2048, depth)), ("b", (depth, 2048)))}
            wide = {name: value.astype(np.float64) for name, value in feeds.items()}
            y, z = product.run(feeds)
            yield f"rows backwards, turn {depth}", difference(y.astype(np.float64), wide["x"][::-1] @ wide["w"]) < 1e-3
            yield f"a depth of {depth}", difference(z.astype(np.float64), wide["a"] @ wide["b"]) < 1e-3


def residuals(library, driver):
    with Product(library) as product:
        for rows in (3001, 1, 2900):
            rng = np.random.default_rng(rows)
            feeds = {name: (rng.standard_normal(shape) * 0.3).astype(np.float16)
                     for name, shape in (("x", (rows, 72)), ("w", (72, 1000)), ("r", (rows, 1000)), ("q", (rows, 1000)),
                                         ("a", (9, 200, 136)), ("b", (9, 136, 328)), ("s", (9, 200, 328)),
                                         ("v", (72, 999)), ("c", (999,)))}
            wide = {name: value.astype(np.float64) for name, value in feeds.items()}
            y, z, t = product.run(feeds)
            expected = np.maximum(wide["x"] @ wide["w"] + wide["r"], 0) * wide["q"]
            yield f"{rows} rows", difference(y.astype(np.float64), expected) < 1e-3
            yield f"{rows} odd rows", difference(t.astype(np.float64), wide["x"] @ wide["v"] + wide["c"]) < 1e-3
            yield f"a batch, beside {rows} rows", difference(z.astype(np.float64), wide["s"] - wide["a"] @ wide["b"]) < 1e-3


def two_devices(library, driver):
    """An instance on each, other inputs at the same time; the stand-in refuses what is the other device's."""
    wrong = []

    def work(product, device):
        for turn in range(6):
            x = inputs(1 + (turn // 3) % 4, 10 * device + turn)
            if not fits(product.run({"x": x}), small_models.classify(x)):
                wrong.append((device, turn))

    with Product(library, cuda_device=0) as first, Product(library, cuda_device=1) as second:
        at_the_same_time(work, (first, 0), (second, 1))
        yield f"at the same time: {len(wrong)} wrong", not wrong
        first.bind_address(1, FLOAT, (2, 8), None, 0, device=1)
        first.bind({"x": inputs(2)})
        first.step()
        found = first.output_tensor(0)
        yield "one's memory is not the other's", refused(
            lambda: second.bind_address(1, FLOAT, (2, 8), found.data, found.bytes, device=1), 1, "its data is no memory of device 1")
        first.close()
        x = inputs(3)
        yield "one goes, the other stays", fits(second.run({"x": x}), small_models.classify(x))


HOPPER_GROUPS = [("CLASSIFIER", shapes_and_graphs), ("LARGE", tensor_maps), ("ODD", odd_maps), ("ADDED", residuals)]
OPTIONS = {"TUNED": ["--train", "--loss", "mse", "--optimizer", "sgd,lr=0.1"], "LEARNER": ["--train", "--optimizer", "sgd,lr=0.01"], "MOMENTS": ["--train", "--optimizer", "adam,lr=0.01"]}
TURING_GROUPS = [("CLASSIFIER", shapes_and_graphs), ("LARGE", products_alone)]
TWO_GROUPS = [("CLASSIFIER", two_devices)]
GROUPS = [("CLASSIFIER", shapes_and_graphs), ("CLASSIFIER", alternating), ("CACHE", growing), ("LISTED", host_kernels), ("CLASSIFIER", without_graphs), ("CLASSIFIER", device_tensors), ("CLASSIFIER", callers_stream), ("ALONE", ending), ("TAKEN", wrong_values), ("LEARNER", training), ("MOMENTS", beginning), ("FEEDBACK", feedback),
          ("CHOSEN", chosen), ("WORDS", words), ("CLASSIFIER", in_threads), ("CLASSIFIER", limits), ("CLASSIFIER", options)] + LOOP_GROUPS


def checks(build, driver, target, groups):
    with tempfile.TemporaryDirectory() as folder:
        for model, group in globals()[groups]:
            path = small_models.save(getattr(small_models, model), os.path.join(folder, model.lower() + ".onnx"))
            library = emulated(path, folder, build, target, OPTIONS.get(model, []))
            for what, passed in group(library, driver):
                yield f"{group.__name__}: {what}", bool(passed)
            yield f"{group.__name__}: all given back", driver.leaks() == 0
