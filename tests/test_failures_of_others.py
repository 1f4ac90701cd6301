"""What is known to have gone wrong in other systems is a test here, each by name; this keeps the list true."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent

SHOWN_BY = {
    "a failed send is repeated at once and for ever": [
        "delivery/test_couriers.py::test_while_the_queue_is_held_nothing_is_tried",
        "delivery/test_retry_policy.py::test_waits_double_from_the_first_up_to_the_longest",
    ],
    "the original is deleted before its copy has arrived": [
        "samples/test_orthanc_ports.py::test_autorouting_keeps_what_could_not_be_sent_and_lets_go_of_it_when_it_has_arrived",
        "scripting/test_runner.py::test_a_delete_after_delivery_waits",
    ],
    "a program's exit status is ignored, or alone believed": [
        "transcoding/test_tools.py::test_wrong_pixels_are_found_whatever_the_exit_status_says",
    ],
    "a send is shown as done although the peer answered 0xA700": [
        "delivery/test_couriers.py::test_what_the_peer_cannot_take_now_is_tried_again_and_given_up_in_the_end",
    ],
    "one event or instance that always fails stops all after it": [
        "scripting/test_runner.py::test_an_event_that_fails_is_parked_and_the_script_goes_on",
        "delivery/test_couriers.py::test_one_instance_that_always_gives_500_does_not_block_the_queue_for_ever",
    ],
    "what was to be tried again is forgotten by a restart": [
        "delivery/test_couriers.py::test_a_crash_between_sending_and_recording_is_a_possible_double_and_sent_again",
        "delivery/test_notifiers.py::test_what_waits_survives_a_restart",
        "scripting/test_runner.py::test_failures_are_counted_over_restarts",
    ],
    "trying again turns the order round": [
        "delivery/test_couriers.py::test_what_was_held_with_its_destination_goes_in_the_order_of_reception_after_the_probe",
    ],
    "a sender waits for a codec until it gives up": [
        "intake/test_ingest_pending.py::test_what_takes_too_long_is_acknowledged_as_received_and_told_when_it_has_ended",
        "intake/test_ingest_pending.py::test_without_a_budget_fifty_are_acknowledged_at_once_and_each_has_one_event",
    ],
    "what was compressed is compressed again, without end": [
        "jobs/test_storing.py::test_the_same_product_again_is_a_repeat_and_leaves_no_file",
    ],
    "a lossless image is 30 times as small, and empty": [
        "transcoding/test_codec_pool.py::test_a_lying_codec_gives_wrong_pixels_and_no_file",
    ],
    "signed samples, or those with fewer bits stored, come out changed": [
        "transcoding/test_traps.py::test_signed_samples_keep_their_sign",
        "transcoding/test_traps.py::test_signed_samples_that_do_not_end_at_their_lowest_bit_keep_their_sign",
    ],
    "a segmentation of single bits is spoilt": [
        "transcoding/test_traps.py::test_single_bits_are_left_as_they_are_by_the_others",
    ],
    "a file that an editor saves by renaming is not noticed": [
        "scripting/test_folder.py::test_an_editors_rename_save_is_noticed",
    ],
    "a helper's old text runs on after its edit": [
        "scripting/test_helpers.py::test_an_edit_of_a_helper_is_a_new_version_of_every_script_that_uses_it",
    ],
    "an edit during a run mixes two versions": [
        "scripting/test_host.py::test_an_edit_while_a_run_is_going_on_has_the_effects_of_one_version_for_each_event",
    ],
    "a script that hangs holds up the host and the other scripts": [
        "scripting/test_load.py::test_a_script_that_waits_and_one_that_is_killed_delay_nobody",
    ],
}


@pytest.mark.parametrize("failure", SHOWN_BY)
def test_each_failure_has_its_tests(failure):
    for shown in SHOWN_BY[failure]:
        file, _, name = shown.partition("::")
        assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8"), shown
