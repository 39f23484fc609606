"""Every failure has its own exit code, and a person sees a sentence and a hint."""

from __future__ import annotations

import inspect

import pytest

from appliance import errors
from appliance.errors import FieldError, HearthError, NetworkError, error_classes
from appliance.log import report_error


def test_exit_codes_are_unique_and_not_the_shells() -> None:
    codes = {cls.__name__: cls.exit_code for cls in error_classes()}
    assert len(set(codes.values())) == len(codes)
    assert all(0 < code < 64 for code in codes.values()), codes  # 126 and up are the shell's


def test_the_table_in_the_docstring_is_the_code() -> None:
    text = inspect.getdoc(errors) or ""
    for cls in error_classes():
        assert any(
            line.split()[:2] == [cls.__name__, str(cls.exit_code)] for line in text.splitlines()
        ), cls


def test_an_error_is_one_sentence_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    code = report_error(NetworkError("the mirror is gone", hint="try another"))
    assert code == NetworkError.exit_code
    assert capsys.readouterr().err == "error: the mirror is gone\n hint: try another\n"


def test_without_a_hint_there_is_no_empty_line(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(HearthError("no"))
    assert capsys.readouterr().err == "error: no\n"


def test_a_field_error_knows_its_field() -> None:
    assert FieldError("password", "too short").field == "password"
