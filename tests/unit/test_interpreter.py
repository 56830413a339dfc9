from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_portcheck.model import Process
from check_portcheck.report import interpreter


def process(*command: str, executable: str | None = None) -> Process:
    return Process(4711, "name", executable, command)


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("python3 /srv/app.py --port 80", "/srv/app.py"),
        ("/usr/bin/python3.11 -u -W ignore -X dev app.py", "app.py"),
        ("python3 -m http.server 8000", "-m http.server"),
        ("python3 -Im http.server", "-m http.server"),
        ("python3 -c pass", None),
        ("python3 -uc pass", None),
        ("python3 -", None),
        ("python3 - app.py", None),
        ("python3 --", None),
        ("python3 X.py", "X.py"),
        ("pythonX app.py", None),
        ("sh run.sh", "run.sh"),
        ("ash run.sh", "run.sh"),
        ("dash run.sh", "run.sh"),
        ("ksh run.sh", "run.sh"),
        ("zsh run.sh", "run.sh"),
        ("-sh run.sh", "run.sh"),
        ("perl -e 1 server.pl", None),
        ("nodejs server.js", "server.js"),
        ("python3", None),
        ("python3 -m", None),
        ("python3 -- -odd.py", "-odd.py"),
        ("pypy3 app.py", "app.py"),
        ("/bin/sh -e /etc/daemon start", "/etc/daemon"),
        ("-bash", None),
        ("bash -euo pipefail +x run.sh", "run.sh"),
        ("bash -lc exec", None),
        ("perl -w -I lib server.pl", "server.pl"),
        ("perl -we 1", None),
        ("ruby3.1 -r json app.rb", "app.rb"),
        ("node --require ./a.js server.js", "server.js"),
        ("node -pe 1", None),
        ("php8.2 -S 127.0.0.1:8000 -t web", "-S 127.0.0.1:8000"),
        ("php -d a=b -f x.php", "-f x.php"),
        ("java -Xmx1g -ea -jar app.jar", "-jar app.jar"),
        ("java -cp a:b -Dx=y org.example.Main", "org.example.Main"),
        ("app", None),
        ("nginx: master process /usr/sbin/nginx", None),
    ],
)
def test_script_of_a_command_line(command: str, script: str | None) -> None:
    assert interpreter.script(process(*command.split())) == script


def test_a_short_script_name_is_no_option() -> None:
    assert interpreter.script(process("python3", "am")) == "am"


def test_an_empty_argument_is_no_script() -> None:
    assert interpreter.script(process("python3", "")) is None
    assert interpreter.script(process("")) is None
    assert interpreter.script(process()) is None


def test_the_program_file_must_be_the_interpreter_too() -> None:
    command = ("python3", "/srv/app.py")
    assert interpreter.script(process(*command, executable="/usr/bin/python3.11")) == "/srv/app.py"
    assert interpreter.script(process(*command, executable="/var/tmp/x")) is None


def test_a_title_in_place_of_the_command_line_is_no_script() -> None:
    titled = process("gunicorn: master [app]", "x", executable="/usr/bin/python3.11")
    assert interpreter.script(titled) is None


arguments = st.sampled_from(["", "-", "--", "-m", "-W", "-c", "-um", "a.py", "+x"]) | st.text()


@given(st.sampled_from(["python3", "bash", "perl", "node", "java", "php", "ruby", ""]), st.data())
def test_no_command_line_is_too_odd(program: str, data: st.DataObject) -> None:
    rest = data.draw(st.lists(arguments, max_size=5))
    script = interpreter.script(process(program, *rest))
    assert script is None or script.split(" ", 1)[-1] in " ".join(rest)
