"""Decorated functions in web frameworks, task queues and process pools, with the real ones.

Each is skipped where it is not installed; ``tox run -e decorated`` installs all of them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from decorated_functions import Traced
from energy_tracking import track_energy

pytestmark = [
    pytest.mark.frameworks,
    # Frameworks warn of what they will change; that is not ours to fail for.
    pytest.mark.filterwarnings("ignore"),
]


class Question(BaseModel):
    """A body, named by annotations that are text here."""

    text: str
    again: int = 1


@pytest.mark.parametrize("kind", ["plain", "coroutine", "method", "dependency"])
def test_fastapi_finds_the_parameters_of_a_decorated_function(kind: str) -> None:
    fastapi = pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    app = fastapi.FastAPI()

    @track_energy
    def plain(question: Question, loud: bool = False) -> dict[str, Any]:
        return {"text": question.text * question.again, "loud": loud}

    @track_energy
    async def coroutine(question: Question, loud: bool = False) -> dict[str, Any]:
        return {"text": question.text * question.again, "loud": loud}

    class Asker:
        @track_energy
        async def ask(self, question: Question, loud: bool = False) -> dict[str, Any]:
            return {"text": question.text * question.again, "loud": loud}

    def dependent(answer: Any = fastapi.Depends(plain)) -> Any:  # noqa: B008
        return answer

    kinds: dict[str, Any] = {
        "plain": plain,
        "coroutine": coroutine,
        "method": Asker().ask,
        "dependency": dependent,
    }
    app.post("/")(kinds[kind])
    response = TestClient(app).post("/?loud=true", json={"text": "a", "again": 2})
    assert (response.status_code, response.json()) == (200, {"text": "aa", "loud": True})


@pytest.mark.parametrize("flavour", ["generator", "async_generator"])
@pytest.mark.parametrize("handler", ["plain", "coroutine"])
def test_a_streaming_response_is_inside_of_the_span(
    traced: Traced, handler: str, flavour: str
) -> None:
    """Its body is generated after the function has returned it."""
    fastapi = pytest.importorskip("fastapi")
    from fastapi.responses import StreamingResponse
    from fastapi.testclient import TestClient

    def generate() -> Iterator[bytes]:
        for _ in range(2):
            traced.count_one()
            yield b"done"

    async def generate_async() -> AsyncIterator[bytes]:
        for part in generate():
            yield part

    def respond() -> StreamingResponse:
        return StreamingResponse(generate() if flavour == "generator" else generate_async())

    async def respond_later() -> StreamingResponse:
        return respond()

    app = fastapi.FastAPI()
    app.get("/", response_model=None)(
        traced.decorate(respond if handler == "plain" else respond_later)
    )
    assert TestClient(app).get("/").text == "donedone"
    assert_rolled_up(traced, 2)


@pytest.mark.parametrize("task", ["plain", "coroutine"])
@pytest.mark.parametrize("handler", ["plain", "coroutine"])
@pytest.mark.parametrize("place", ["argument", "response", "streaming response"])
def test_background_tasks_are_inside_of_the_span(
    traced: Traced, place: str, handler: str, task: str
) -> None:
    """They run when the response has been sent."""
    fastapi = pytest.importorskip("fastapi")
    from fastapi.responses import JSONResponse, StreamingResponse
    from fastapi.testclient import TestClient

    def ask(times: int) -> None:
        for _ in range(times):
            traced.count_one()

    async def ask_later(times: int) -> None:
        ask(times)

    def stream() -> Iterator[bytes]:
        ask(1)
        yield b"1"

    def add(tasks: Any) -> Any:
        for times in (1, 2):
            tasks.add_task(ask if task == "plain" else ask_later, times)
        return tasks

    def respond(tasks: Any) -> Any:
        ask(1)
        if place == "argument":
            add(tasks)
            return {}
        if place == "response":
            return JSONResponse({}, background=add(fastapi.BackgroundTasks()))
        return StreamingResponse(stream(), background=add(fastapi.BackgroundTasks()))

    async def respond_later(tasks: Any) -> Any:
        return respond(tasks)

    def others(tasks: Any) -> None:
        """Of a dependency, which is not decorated."""
        tasks.add_task(lambda: None)

    for function in (respond, respond_later, others):
        function.__annotations__["tasks"] = fastapi.BackgroundTasks
    app = fastapi.FastAPI()
    decorated = traced.decorate(respond if handler == "plain" else respond_later)
    app.get("/", response_model=None, dependencies=[fastapi.Depends(others)])(decorated)
    assert TestClient(app).get("/").status_code == 200
    assert_rolled_up(traced, 5 if place == "streaming response" else 4)


def assert_rolled_up(traced: Traced, calls: int) -> None:
    (span,) = traced.functions
    assert traced.rollup["calls"] == len(traced.leaves) == calls
    assert {leaf.parent and leaf.parent.span_id for leaf in traced.leaves} == {span.context.span_id}


def test_a_streamed_response_of_flask_is_inside_of_the_span(traced: Traced) -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask("app")

    @app.get("/")  # type: ignore[untyped-decorator]
    @traced.decorate
    def respond() -> Any:
        def generate() -> Iterator[str]:
            for _ in range(2):
                traced.count_one()
                yield "done"

        return flask.Response(generate())

    assert app.test_client().get("/").text == "donedone"
    assert_rolled_up(traced, 2)


def test_a_streamed_response_of_django_is_inside_of_the_span(traced: Traced) -> None:
    pytest.importorskip("django")
    from django.conf import settings
    from django.http import StreamingHttpResponse

    if not settings.configured:
        settings.configure()

    @traced.decorate
    def respond() -> Any:
        def generate() -> Iterator[str]:
            for _ in range(2):
                traced.count_one()
                yield "done"

        return StreamingHttpResponse(generate())

    response = respond()
    assert traced.functions == []
    assert b"".join(response.streaming_content) == b"donedone"
    response.close()
    assert_rolled_up(traced, 2)


@pytest.mark.parametrize("order", ["above", "below"])
def test_a_task_of_celery_keeps_its_methods(traced: Traced, order: str) -> None:
    celery = pytest.importorskip("celery")
    app = celery.Celery("app", broker="memory://", backend="cache+memory://")
    app.conf.task_always_eager = True

    def ask(word: str, again: int = 1) -> str:
        traced.count_one()
        return word * again

    task = app.task(ask) if order == "above" else app.task(traced.decorate(ask))
    decorated = traced.decorate(task) if order == "above" else task
    assert decorated.delay("a", again=2).get() == "aa"
    assert decorated.name.endswith("ask")
    assert decorated.s("b").delay().get() == "b"
    assert decorated("c") == "c"
    assert traced.functions[-1].name.endswith("ask")
    with pytest.raises(TypeError):
        decorated.delay()


SCRIPT = """
import functools, os, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from energy_tracking import Tracker, process_session, track_energy

def ask(number):
    Tracker().record(model="gpt-4o", usage={"prompt_tokens": 10, "completion_tokens": 5})
    return number * 2, process_session().totals.calls, os.getpid()

def generate(number):
    yield ask(number)

async def ask_later(number):
    return ask(number)

async def generate_later(number):
    yield ask(number)

class Asker:
    def __call__(self, number):
        return ask(number)

    def method(self, number):
        return ask(number)

KINDS = [ask, generate, ask_later, generate_later, Asker(), Asker().method]
KINDS.append(functools.partial(ask, 5))
DECORATED = [track_energy(gpu="A100")(kind) for kind in KINDS]
"""
SET_PROVIDER = """
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(out=open(os.devnull, "w"))))
trace.set_tracer_provider(provider)
"""
USES = {
    "joblib": """
from joblib import Parallel, delayed
results = Parallel(n_jobs=2)(delayed(DECORATED[0])(number) for number in range(4))
assert [result for result, _, _ in results] == [0, 2, 4, 6], results
assert os.getpid() not in {pid for _, _, pid in results}
assert all(calls for _, calls, _ in results)
""",
    "cloudpickle": """
import cloudpickle
for kind, decorated in zip(KINDS, DECORATED, strict=True):
    plain, dumped = cloudpickle.dumps(kind), cloudpickle.dumps(decorated)
    assert len(dumped) < len(plain) + 2048, (kind, len(plain), len(dumped))
    assert type(cloudpickle.loads(dumped)) is type(decorated)
assert cloudpickle.loads(cloudpickle.dumps(DECORATED[0]))(3)[:2] == (6, 1)
assert process_session().by_gpu.keys() == {"H100"}
""",
}


@pytest.mark.parametrize("package", USES)
@pytest.mark.parametrize("provider", ["none", "set first", "set later"])
def test_decorated_functions_of_a_script_go_to_other_processes(
    tmp_path: Path, package: str, provider: str
) -> None:
    pytest.importorskip(package)
    parts = [SCRIPT, USES[package]]
    if provider != "none":
        parts.insert(1, SET_PROVIDER)
    if provider == "set first":
        first = "from energy_tracking import"
        head, tail = SCRIPT.split(first)
        parts = [head, SET_PROVIDER, first + tail, USES[package]]
    script = tmp_path / "script.py"
    script.write_text("\n".join(parts))
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr == ""
