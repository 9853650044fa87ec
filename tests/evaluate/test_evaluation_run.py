"""The walk: against a slow script of the whole, every image once, and failures by name."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from toy_evaluation import smooth, tensor, write_pictures

from wplus import images
from wplus.errors import ConfigError
from wplus.evaluate import (
    FaceNet,
    Measure,
    Method,
    Metric,
    Pairs,
    Photographs,
    Samples,
    Scorer,
    evaluate,
    load_scorer,
    of_pairs,
    one_pass,
    refined,
    run,
    table,
)
from wplus.evaluate.datasets import Example
from wplus.evaluate.metrics import METRICS
from wplus.evaluate.results import Report
from wplus.losses import LPIPS, LossNetworks
from wplus.psp import PSP

# --- the slow script: one picture at a time, NumPy where there is a choice


def slow_lpips(net: LPIPS, one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    shift = np.array([-0.030, -0.088, -0.188])[:, None, None]
    scale = np.array([0.458, 0.448, 0.450])[:, None, None]
    strides, paddings, pools = [4, 1, 1, 1, 1], [2, 2, 1, 1, 1], [False, True, True, False, False]
    sides = [torch.from_numpy((x - shift) / scale)[None].float() for x in (one, other)]
    total = 0.0
    for layer in range(5):
        units = []
        for side, x in enumerate(sides):
            if pools[layer]:
                x = F.max_pool2d(x, 3, 2)
            conv = net.convs[layer]
            x = F.relu(F.conv2d(x, conv.weight, conv.bias, strides[layer], paddings[layer]))
            sides[side] = x
            values = x[0].numpy().astype(np.float64)
            units.append(values / (np.sqrt((values**2).sum(axis=0)) + 1e-10))
        head = net.heads[layer].detach().numpy().reshape(-1, 1, 1)
        total += float((head * (units[0] - units[1]) ** 2).sum(axis=0).mean())
    return total


def slow_face(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    crop = picture[:, 35:223, 32:220]
    edges = [(i * 188 // 112, -(-(i + 1) * 188 // 112)) for i in range(112)]
    rows = np.stack([crop[:, top:bottom].mean(axis=1) for top, bottom in edges], axis=1)
    face = np.stack([rows[:, :, left:right].mean(axis=2) for left, right in edges], axis=2)
    vector = face.reshape(3, 4, 28, 4, 28).mean(axis=(2, 4)).ravel()
    return np.asarray(vector / np.linalg.norm(vector))


def slow_features(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([*picture.mean(axis=(1, 2)), *picture[:2].reshape(2, -1).std(axis=1, ddof=1)])


def slow_script(folder: Path, model: PSP, lpips: LPIPS) -> tuple[dict[str, list[float]], float]:
    values: dict[str, list[float]] = {"lpips_alexnet": [], "mse": [], "psnr": [], "identity": []}
    wanted, found = [], []
    for path in sorted(folder.iterdir()):
        levels = np.asarray(Image.open(path).convert("RGB")).astype(np.float64).transpose(2, 0, 1)
        target = levels / 127.5 - 1
        with torch.no_grad():
            codes = model.encode(torch.from_numpy(target)[None].float())
            image = model.decode(codes)[0].numpy().astype(np.float64)
        saved = np.clip(np.round((image + 1) * 127.5), 0, 255) / 127.5 - 1
        output = saved.reshape(3, 256, 2, 256, 2).mean(axis=(2, 4))
        squared = ((output - target) ** 2).mean()
        values["mse"].append(squared)
        values["psnr"].append(20 * np.log10(255) - 10 * np.log10(squared * 127.5**2))
        values["lpips_alexnet"].append(slow_lpips(lpips, target, output))
        values["identity"].append(float(slow_face(target) @ slow_face(output)))
        wanted.append(slow_features(target))
        found.append(slow_features(output))
    one, other = np.array(wanted), np.array(found)
    product = np.cov(one.T) @ np.cov(other.T)
    roots = np.sqrt(np.linalg.eigvals(product).astype(complex)).real.sum()
    apart = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
    fid = apart + np.trace(np.cov(one.T)) + np.trace(np.cov(other.T)) - 2 * roots
    return values, float(fid)


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.with_name("copy")))


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_against_a_slow_script(
    batch: int, tmp_path: Path, model: PSP, scorer: Scorer, lpips: LPIPS
) -> None:
    folder = write_pictures(tmp_path / "photos", 7)  # more than the toy features have numbers
    report = evaluate([Photographs(folder)], [one_pass(model)], scorer, batch=batch)
    [result] = report.results
    assert result.names == [f"{i:03d}.png" for i in range(7)]  # batches of 2 and 8 leave a rest
    expected, fid = slow_script(folder, model, lpips)
    assert set(result.values) == set(expected)
    for name, column in expected.items():
        np.testing.assert_allclose(result.values[name], column, rtol=2e-4, atol=3e-5, err_msg=name)
        assert result.means[name].mean == pytest.approx(np.mean(column), rel=2e-4, abs=3e-5)
        assert result.means[name].count == 7
    assert result.sets["fid"].value == pytest.approx(fid, rel=1e-3)
    assert (result.sets["fid"].images, report.to_dict()["results"][0]["fid"]["biased"]) == (7, True)
    assert result.seconds is not None
    assert len(result.seconds) == 7
    assert result.median_seconds is not None
    assert result.median_seconds > 0
    assert report.failures == []


def test_files_of_the_model_get_the_scores_of_the_model(
    photos: Path, tmp_path: Path, model: PSP, scorer: Scorer
) -> None:
    direct = evaluate([Photographs(photos)], [one_pass(model)], scorer).results[0]
    for path in photos.iterdir():
        code = model.encode(images.to_tensor(images.read(path)))
        images.save(model.decode(code)[0], tmp_path / "out" / path.name)
    files = evaluate([Pairs(photos, tmp_path / "out")], [], scorer).results[0]
    assert files.names == [name.removesuffix(".png") for name in direct.names]
    assert files.seconds is None
    for name, column in direct.values.items():
        np.testing.assert_allclose(files.values[name], column, rtol=1e-4, atol=1e-6, err_msg=name)


def test_pictures_compared_with_themselves(photos: Path, scorer: Scorer) -> None:
    [result] = evaluate([Pairs(photos, copied(photos))], [], scorer).results
    assert result.sets["fid"].value == pytest.approx(0, abs=1e-12)
    expected = {"mse": 0.0, "lpips_alexnet": 0.0, "psnr": 100.0, "identity": 1.0}
    for name, value in expected.items():
        assert result.means[name].mean == pytest.approx(value, abs=1e-6)


def without_times(report: Report) -> dict[str, object]:
    content = report.to_dict()
    for entry in content["results"]:
        entry.pop("seconds", None)
    return content


def test_equal_runs_give_equal_reports(
    photos: Path, model: PSP, scorer: Scorer, lpips: LPIPS
) -> None:
    methods = [one_pass(model), refined(model, 1, LossNetworks(lpips=lpips))]
    sets = [Photographs(photos, limit=2), Samples(model, 1)]
    first, second = (evaluate(sets, methods, scorer, batch=2, seed=3) for _ in range(2))
    assert without_times(first) == without_times(second)
    assert [(r.data, r.method) for r in first.results] == [
        ("photos", "one pass"),
        ("photos", "one pass + 1 step"),
        ("unseen-seeds", "one pass"),
        ("unseen-seeds", "one pass + 1 step"),
    ]


def test_refinement_is_better_and_the_change_says_so(
    photos: Path, model: PSP, scorer: Scorer, lpips: LPIPS
) -> None:
    methods = [one_pass(model), refined(model, 4, LossNetworks(lpips=lpips))]
    start, better = evaluate([Photographs(photos, limit=2)], methods, scorer, batch=2).results
    loss = [r.values["mse"] + 0.8 * r.values["lpips_alexnet"] for r in (start, better)]
    assert (loss[1] < loss[0]).all()
    change = better.change_from(start)["lpips_alexnet"]
    by_hand = better.values["lpips_alexnet"] - start.values["lpips_alexnet"]
    assert change.mean == pytest.approx(by_hand.mean())
    assert change.low is not None
    assert change.high is not None
    assert change.low <= by_hand.mean() <= change.high
    other = evaluate([Photographs(photos, limit=1)], methods[:1], scorer).results[0]
    with pytest.raises(ValueError, match="not run on the same images"):
        better.change_from(other)


def test_a_model_without_an_encoder_is_its_mean_code(
    photos: Path, model: PSP, scorer: Scorer, lpips: LPIPS
) -> None:
    bare = PSP(None, model.generator, model.config).eval().requires_grad_(False)
    methods = [one_pass(bare), refined(bare, 1, LossNetworks(lpips=lpips))]
    report = evaluate([Photographs(photos, limit=2)], methods, scorer)
    assert [result.method for result in report.results] == ["mean code", "mean code + 1 step"]
    mean = images.resize(
        images.to_tensor(images.to_picture(bare.decode(bare.mean_codes[None])[0])), 256
    )
    target = images.to_tensor(smooth(0))
    assert report.results[0].values["mse"][0] == pytest.approx(
        float((mean - target).square().mean())
    )


def test_samples_are_the_same_whatever_the_count(model: PSP) -> None:
    def drawn(count: int, psi: float, **seed: int) -> torch.Tensor:
        found = Samples(model, count, truncation=psi, **seed).images()
        return torch.cat([one.target for one in found if isinstance(one, Example)])

    few, many = drawn(2, 0.7), drawn(3, 0.7)
    assert torch.equal(few, many[:2])
    assert not torch.equal(many[0], many[1])
    assert not torch.equal(drawn(3, 0.7, seed=1), many)
    mean = drawn(1, 0.0)
    flat = images.to_tensor(images.to_picture(model.decode(model.generator.mean_w[None])[0]))
    torch.testing.assert_close(mean, images.resize(flat, 256))


def test_files_that_cannot_be_read_are_named_and_counted(
    photos: Path, model: PSP, scorer: Scorer
) -> None:
    (photos / "001.png").write_text("I am a text.\n" * 50)
    (photos / "002b.jpg").write_bytes(b"")
    report = evaluate([Photographs(photos)], [one_pass(model)], scorer, batch=2)
    assert [(f.name, f.kind) for f in report.failures] == [
        ("001.png", "unreadable"),
        ("002b.jpg", "unreadable"),
    ]
    for failure in report.failures:
        assert failure.name in failure.line
        assert "\n" not in failure.line
    [result] = report.results
    assert result.names == ["000.png", "002.png", "003.png", "004.png"]
    assert result.means["mse"].count == 4
    assert result.sets["fid"].images == 4


def test_an_unreadable_partner_is_named(photos: Path, tmp_path: Path, scorer: Scorer) -> None:
    second = tmp_path / "second"
    shutil.copytree(photos, second)
    (second / "003.png").write_bytes(b"\x89PNG")
    report = evaluate([Pairs(photos, second)], [], scorer)
    [failure] = report.failures
    assert failure.name == "003"
    assert str(second / "003.png") in failure.line
    assert report.results[0].names == ["000", "001", "002", "004"]


def faulty(targets: torch.Tensor) -> torch.Tensor:
    """The images 1 and 3 as they are, and nothing of the others."""
    kept = torch.cat([tensor(number) for number in (1, 3)])
    same = torch.stack([(kept == target).flatten(1).all(1).any() for target in targets])
    return torch.where(same[:, None, None, None], targets, torch.nan)


def test_broken_results_are_named_and_have_no_score(
    photos: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = itertools.count()
    monkeypatch.setattr(run.time, "perf_counter", lambda: float(next(times)))
    warmed: list[int] = []
    method = Method("faulty", faulty, lambda targets: warmed.append(len(targets)))
    report = evaluate([Photographs(photos)], [method], scorer, batch=2)
    assert warmed == [2]
    assert [(f.name, f.kind, f.method) for f in report.failures] == [
        ("000.png", "broken result", "faulty"),
        ("002.png", "broken result", "faulty"),
        ("004.png", "broken result", "faulty"),
    ]
    [result] = report.results
    assert len(result.names) == 5
    assert np.isnan(result.values["mse"]).tolist() == [True, False, True, False, True]
    assert (result.means["mse"].mean, result.means["mse"].count) == (0.0, 2)
    assert result.sets["fid"].images == 2
    assert result.seconds is not None
    assert result.seconds.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0]


def test_a_model_that_gives_no_numbers_breaks_no_evaluation(
    photos: Path, model: PSP, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        model, "encode", lambda x: torch.full((len(x), model.num_styles, 16), torch.nan)
    )
    report = evaluate([Photographs(photos, limit=2)], [one_pass(model)], scorer)
    assert [f.kind for f in report.failures] == ["broken result"] * 2
    [result] = report.results
    assert (result.means["mse"].mean, result.means["mse"].count, result.sets["fid"].value) == (
        None,
        0,
        None,
    )


def test_faces_without_a_vector_are_named(
    photos: Path, scorer: Scorer, face_net: FaceNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sees = face_net.embed

    def blind_in_the_dark(pictures: torch.Tensor) -> torch.Tensor:
        dark = pictures.mean(dim=(1, 2, 3)) < -0.99
        return torch.where(dark[:, None], torch.nan, sees(pictures))

    monkeypatch.setattr(face_net, "embed", blind_in_the_dark)
    Image.new("RGB", (256, 256)).save(photos / "001.png")
    report = evaluate([Pairs(photos, copied(photos))], [], scorer)
    [failure] = report.failures
    assert (failure.name, failure.kind, failure.method) == ("001", "no identity", "files")
    [result] = report.results
    assert result.means["identity"].count == 4
    assert result.means["mse"].count == 5


def test_pictures_that_are_not_square_lose_their_ends(tmp_path: Path, scorer: Scorer) -> None:
    folder = tmp_path / "wide"
    folder.mkdir()
    wide = Image.new("RGB", (300, 256), "red")
    wide.paste(smooth(0), (22, 0))
    wide.save(folder / "0.png")
    smooth(1, 512).save(folder / "1.png")
    data = Photographs(folder)
    [batch] = data.batches(8, [])
    torch.testing.assert_close(batch[0].target[0], images.to_tensor(smooth(0))[0])
    large = images.to_tensor(smooth(1, 512)).reshape(3, 256, 2, 256, 2).mean(dim=(2, 4))
    torch.testing.assert_close(batch[1].target[0], large, atol=0.51 / 127.5, rtol=0)  # 8 bits
    assert data.cut == 1
    report = evaluate([Pairs(folder, copied(folder))], [], scorer)
    assert "not square" in " ".join(report.notes)


def test_one_picture_has_no_fid_and_no_interval(photos: Path, model: PSP, scorer: Scorer) -> None:
    report = evaluate([Photographs(photos, limit=1)], [one_pass(model)], scorer)
    [result] = report.results
    assert result.sets["fid"].value is None
    assert result.means["mse"].low is None
    assert any("no FID" in note for note in report.notes)


def test_what_makes_no_sense_is_refused(
    photos: Path, model: PSP, scorer: Scorer, lpips: LPIPS
) -> None:
    for path in photos.iterdir():
        path.write_text("text")
    with pytest.raises(ConfigError, match=r"photos: none of 5 images can be used .*000\.png"):
        evaluate([Photographs(photos)], [one_pass(model)], scorer)
    with pytest.raises(ConfigError, match="datasets of different names"):
        evaluate([Photographs(photos)] * 2, [one_pass(model)], scorer)
    with pytest.raises(ConfigError, match="methods of different names"):
        evaluate([Photographs(photos)], [], scorer)
    with pytest.raises(ConfigError, match="a batch has at least 1"):
        evaluate([Photographs(photos)], [one_pass(model)], scorer, batch=0)
    with pytest.raises(ConfigError, match="limit of 0"):
        Photographs(photos, limit=0)
    with pytest.raises(ConfigError, match="0 samples"):
        Samples(model, 0)
    with pytest.raises(ConfigError, match="0 steps"):
        refined(model, 0, LossNetworks(lpips=lpips))


def test_other_sources_are_refused(model: PSP) -> None:
    from dataclasses import replace

    sketches = PSP(model.encoder, model.generator, replace(model.config, source="sketch"))
    with pytest.raises(ConfigError, match="reads sketch, not photographs"):
        one_pass(sketches)


@pytest.mark.network
def test_alignment_comes_first_and_faceless_pictures_are_named(
    tmp_path: Path, scorer: Scorer
) -> None:
    skimage = pytest.importorskip("skimage.data")
    folder = write_pictures(tmp_path / "a", 1)
    Image.fromarray(skimage.astronaut()).save(folder / "astronaut.png")
    failures = []
    data = Photographs(folder, align=True)
    [[example]] = data.batches(8, failures)
    assert [(f.name, f.kind) for f in failures] == [("000.png", "no face")]
    assert example.name == "astronaut.png"
    assert data.cut == 0
    from wplus import faces

    [face] = faces.align(Image.fromarray(skimage.astronaut()))
    assert torch.equal(example.target, images.to_tensor(face.image))


def test_a_metric_of_ones_own_is_a_function_and_a_row(
    photos: Path, model: PSP, lpips: LPIPS
) -> None:
    def l1(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs - targets).abs().mean(dim=(1, 2, 3))

    class Count:
        count = 0

        def update(self, features: torch.Tensor) -> None:
            self.count += len(features)

    def both(outputs: Count, targets: Count) -> float:
        return float(outputs.count + targets.count)

    standard = list(METRICS)
    METRICS.register(Metric("l1", "L1 in [−1, 1]", of_pairs(l1), digits=4))
    METRICS.register(
        Metric("both", "images of both", lambda _: Measure(both, statistics=Count), False)
    )
    try:
        scorer = load_scorer(without=[name for name in standard if name != "mse"])
        assert scorer.names() == ["mse", "l1"] and scorer.names(of_sets=True) == ["both"]
        report = evaluate([Photographs(photos, limit=2)], [one_pass(model)], scorer)
        [result] = report.results
        mean = result.means["l1"].mean
        assert mean is not None and mean**2 < (result.means["mse"].mean or 0)
        content = report.to_dict()["results"][0]
        assert content["metrics"]["l1"]["better"] == "lower"
        assert content["both"] == {"value": 4.0, "images": 2, "biased": False}
        titles = [row[0] for row in table(report)[1]]
        assert "L1 in [−1, 1] ↓" in titles and "images of both ↑" in titles
    finally:
        METRICS.unregister("l1")
        METRICS.unregister("both")
