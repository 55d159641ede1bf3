"""The figures of a calibration, derived from work and time; and what is said about them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looker.model.calibration import (
    WRITE_STAGES,
    Calibration,
    LoadCeiling,
    Measured,
    Stage,
    StageWork,
    summed,
)
from looker.model.config import Mode
from looker.model.report import PhaseTimes, WriteReport
from servers import run_config

S = 10**9
works = st.builds(
    StageWork,
    n_samples=st.integers(1, 10**9),
    cpu_s=st.floats(1e-6, 1e4),
    wall_s=st.floats(1e-6, 1e4),
)


def a_write(n_samples: int = 4_000_000, **changes: Any) -> WriteReport:
    figures: dict[str, Any] = {
        "times": PhaseTimes(1 * S, 3 * S),
        "samples_acked": n_samples,
        "payload_bytes_acked": 100 * n_samples,
        "wire_bytes_sent": 90 * n_samples,
        "pushes_acked": n_samples // 1000,
        # writers wait for messages, which are made all the time
        "workers_s": 4.0,
        "generating_s": 3.9,
        "writers_s": 20.0,
        "starved_generator_s": 15.0,
        "requesting_s": 5.0,
        "cpu_s": 3.6,
    }
    return WriteReport(**{**figures, **changes})


def a_measurement(n_workers: int = 2, **changes: Any) -> Measured:
    work = {
        Stage.GENERATE: StageWork(2_000_000, cpu_s=0.4, wall_s=0.5),
        Stage.COMPRESS: StageWork(2_000_000, cpu_s=0.2, wall_s=0.25),
        Stage.PUSH: StageWork(1_000_000, cpu_s=0.1, wall_s=0.4),
        Stage.VALIDATE: StageWork(4_000_000, cpu_s=1.2, wall_s=1.6),
    }
    figures: dict[str, Any] = {"work": work, "write": a_write(), "target_cpu_s": 0.5}
    return Measured(n_workers, **{**figures, **changes})


def a_ceiling(*measured: Measured, **changes: Any) -> LoadCeiling:
    config = run_config(
        None,
        mode=changes.pop("mode", Mode.LOGS),
        n_streams=changes.pop("n_streams", 100),
        n_samples_per_fragment=changes.pop("n_samples", 1000),
        step_ns=changes.pop("step_ns", 1),
    )
    figures: dict[str, Any] = {"n_cores": 4, "n_targets": 1, "others_cores": 0.1}
    return LoadCeiling(config, measured=measured or (a_measurement(),), **{**figures, **changes})


def test_rates_are_work_over_time_of_all_workers() -> None:
    one = a_measurement()
    assert one.samples_per_s(Stage.GENERATE) == 2 * 2_000_000 / 0.5
    assert one.samples_per_s(Stage.PUSH) == 2 * 1_000_000 / 0.4
    assert (one.payload_mb_per_s, one.wire_mb_per_s) == (200.0, 180.0)
    assert (one.cores_busy, one.target_cores_busy) == (1.8, 0.25)
    # 900 ns of a run's CPU, of which 200 + 100 + 100 ns are the stages'
    assert one.hand_over_ns_per_sample == pytest.approx(500.0)


def test_shares_are_of_the_cpu_that_a_sample_costs() -> None:
    one = a_measurement()
    assert [one.share(stage) for stage in Stage] == pytest.approx(
        [200 / 700, 100 / 700, 100 / 700, 300 / 700]
    )
    # validating is no part of writing
    assert one.costliest is Stage.GENERATE


@given(st.fixed_dictionaries(dict.fromkeys(Stage, works)), st.integers(1, 64))
def test_shares_add_up_and_the_costliest_is_the_costliest(
    work: dict[Stage, StageWork], n_workers: int
) -> None:
    one = a_measurement(n_workers, work=work)
    assert sum(one.share(stage) for stage in Stage) == pytest.approx(1.0)
    assert all(one.share(one.costliest) >= one.share(stage) for stage in WRITE_STAGES)
    for stage, part in work.items():
        assert one.samples_per_s(stage) == n_workers * part.n_samples / part.wall_s
    json.dumps(one.to_json(), allow_nan=False)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(Stage, works)), max_size=4))
def test_the_work_of_workers_adds_up(parts: list[dict[Stage, StageWork]]) -> None:
    total = summed(parts)
    for stage in Stage:
        assert total[stage].n_samples == sum(part[stage].n_samples for part in parts)
        assert total[stage].cpu_s == pytest.approx(sum(part[stage].cpu_s for part in parts))
        assert total[stage].wall_s == pytest.approx(sum(part[stage].wall_s for part in parts))


def test_nothing_done_is_no_division_by_zero() -> None:
    one = Measured(1, summed([]), WriteReport(), 0.0)
    assert {one.share(stage) for stage in Stage} == {0.0}
    assert {one.samples_per_s(stage) for stage in Stage} == {0.0}
    assert one.wire_mb_per_s == one.cores_busy == one.hand_over_ns_per_sample == 0.0


def test_the_ceiling_is_the_largest_load_not_the_largest_number_of_workers() -> None:
    slower = a_measurement(4, write=a_write(3_000_000))
    load = a_ceiling(a_measurement(1, write=a_write(2_000_000)), a_measurement(2), slower)
    assert load.best.n_workers == 2
    ceiling = load.to_json()["ceiling"]
    assert ceiling == {
        "n_workers": 2,
        "samples_per_s": 2_000_000.0,
        "payload_mb_per_s": 200.0,
        "wire_mb_per_s": 180.0,
        "validated_samples_per_s": 2 * 4_000_000 / 1.6,
        "bottleneck": "generate",
    }


def test_where_all_is_well_there_is_nothing_to_note() -> None:
    assert a_ceiling().notes() == []


@pytest.mark.parametrize(
    ("load", "words"),
    [
        (a_ceiling(n_cores=2), "took 0.2 of them"),
        (a_ceiling(others_cores=1.4), "Other processes used 1.4 of the 4 usable core(s)"),
        (
            a_ceiling(a_measurement(write=a_write(starved_generator_s=1.0, requesting_s=19.0))),
            "Looker's cores were not all busy",
        ),
        (
            a_ceiling(
                a_measurement(
                    work=summed([{Stage.PUSH: StageWork(1_000_000, cpu_s=0.2, wall_s=0.3)}])
                )
            ),
            "A push costs 200 us of CPU, though it holds only 1,000 entries",
        ),
        (
            a_ceiling(mode=Mode.METRICS, n_streams=1000, step_ns=1_000_000),
            "whose samples are 1 ms apart may grow by no more than 1,000,000 samples/s",
        ),
    ],
    ids=["shared cores", "others", "idle", "small messages", "coupling"],
)
def test_what_is_to_be_known_is_noted(load: LoadCeiling, words: str) -> None:
    (note,) = load.notes()
    assert words in note
    assert load.to_json()["notes"] == [note]


def test_where_others_disturb_idle_cores_say_nothing() -> None:
    idle = a_measurement(write=a_write(starved_generator_s=1.0, requesting_s=19.0))
    (note,) = a_ceiling(idle, others_cores=2.0).notes()
    assert "Other processes" in note
    # where it cannot be told, nothing is claimed
    (note,) = a_ceiling(idle, others_cores=None).notes()
    assert "not all busy" in note


def test_large_messages_are_not_complained_about() -> None:
    work = summed([{Stage.PUSH: StageWork(1_000_000, cpu_s=0.2, wall_s=0.3)}])
    assert a_ceiling(a_measurement(work=work), n_samples=10_000).notes() == []


def test_a_calibration_is_json() -> None:
    found = Calibration("1.0", "a", "b", {"n_usable_cores": 4}, (a_ceiling(),)).to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["schema_version"], found["kind"]) == (1, "calibration")
    (load,) = found["loads"]
    assert load["shape"]["n_chars_per_line"] == 100
    (workers,) = load["workers"]
    assert list(workers["stages"]) == ["generate", "compress", "push", "validate"]
    assert workers["write"]["limited_by"] == "generator"
    metrics = a_ceiling(mode=Mode.METRICS).to_json()
    assert metrics["shape"]["n_chars_per_line"] is None
