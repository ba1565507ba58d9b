from pathlib import Path

import pytest

from training import recipe as recipes
from training.recipe import Recipe, RecipeError


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_reads_and_says_what_it_is_for(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipe.description


def test_the_recipes_of_the_readme_exist() -> None:
    wanted = {"qlora-7b", "qlora-70b", "lora", "full", "tiny-cpu", "tiny-cpu-smoke"}
    assert wanted <= set(recipes.names())


def test_qlora_is_nf4_with_double_quantisation_at_2e_4_and_four_rows() -> None:
    recipe = recipes.load("qlora-7b")
    assert recipe.method == "qlora"
    assert (recipe.quantisation.kind, recipe.quantisation.double) == ("nf4", True)
    assert (recipe.learning_rate, recipe.batch_size) == (2e-4, 4)
    assert recipe.checkpointing
    assert recipe.patience > 0


def test_a_recipe_reads_back_what_it_wrote(tmp_path: Path) -> None:
    recipe = recipes.load("tiny-cpu", {"lora.rank": 4, "report_to": ["tensorboard"]})
    path = tmp_path / "mine.yaml"
    path.write_text(recipe.as_yaml())
    assert recipes.load(path) == recipe


def test_an_unknown_field_is_named_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("learning_rte: 1.0e-4\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml: `learning_rte` is no field; there are .*"):
        recipes.load(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lora.rnk=3", r"`lora\.rnk` \(given with --set\) is no field; there are rank, alpha"),
        ("lora.rank=0", r"`lora\.rank` .*greater than 0"),
        ("lora=3", r"`lora` .*"),
        ("name.x=3", r"`name` has no fields of its own"),
        ("learning_rate=fast", r"`learning_rate` .*number"),
        ("max_steps=3.5", r"`max_steps` .*integer"),
        ("distributed=fsdp", r"needs GPUs, and `device` is cpu"),
        ("backend=unsloth", r"needs a GPU, and `device` is cpu"),
        ("schedule=zigzag", r"`schedule` .*'cosine'"),
        ("rank", r"write it as key=value"),
        ("a=[1", r"the value cannot be read"),
    ],
)
def test_a_wrong_override_is_named(given: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipes.load("tiny-cpu", recipes.parse_overrides([given]))


def test_overrides_are_numbers_lists_and_words() -> None:
    given = ["learning_rate=1e-4", "lora.rank=8", "lora.targets=[q_proj, v_proj]", "eval_every=7"]
    recipe = recipes.load("tiny-cpu", recipes.parse_overrides(given))
    assert recipe.learning_rate == 1e-4
    assert (recipe.lora.rank, recipe.lora.targets) == (8, ("q_proj", "v_proj"))
    assert recipe.lora.alpha == 32  # the rest of the group stays
    assert recipe.eval_every == 7


def test_there_is_no_such_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe 'big'; there are full, lora"):
        recipes.load("big")
    with pytest.raises(RecipeError, match=r"no\.yaml: there is no such recipe file"):
        recipes.load(tmp_path / "no.yaml")
    broken = tmp_path / "broken.yaml"
    for text in ("- a\n", "a: [\n", ""):
        broken.write_text(text)
        with pytest.raises(RecipeError, match=r"broken\.yaml: "):
            recipes.load(broken)


def test_every_field_is_described() -> None:
    described = (Recipe.__doc__ or "").partition("Args:")[2]
    for name in Recipe.model_fields:
        assert f"{name}:" in described
