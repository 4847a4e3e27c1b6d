import threading

import torch

from storygen.decoding.stepper import Stepper, has_free_cores, single_threaded


def test_a_call_gives_its_result_or_its_error():
    stepper = Stepper()
    assert stepper.run(torch.is_inference_mode_enabled) is True
    try:
        stepper.run(lambda: 1 / 0)
    except ZeroDivisionError:
        return
    raise AssertionError("the error was lost")


def test_looking_for_free_cores_sets_the_threads_of_its_own_thread_only():
    """PyTorch's number of threads belongs to the thread that sets it; the trainer's must stay as it is."""
    found = []

    def look():
        found.append((has_free_cores(1), torch.get_num_threads()))

    before = torch.get_num_threads()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [(True, 1)]
    assert torch.get_num_threads() == before


def test_single_threaded_ends_with_the_block():
    before = torch.get_num_threads()
    with single_threaded():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
