package look

import (
	"errors"
	"regexp"
	"strings"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// Servers name a missing right in their errors: Redis by the command, PostgreSQL by the
// object.
var (
	deniedCommand = regexp.MustCompile(`permissions to run the '([a-z|]+)'`)
	deniedObject  = regexp.MustCompile(`permission denied for (schema|table|function) (\S+) \(SQLSTATE 42501\)`)
)

// lackedRight returns the right to grant if err reports a missing right, and "" otherwise.
func lackedRight(err error) string {
	text := err.Error()
	if named := deniedObject.FindStringSubmatch(text); named != nil {
		return map[string]string{
			"schema": "USAGE ON SCHEMA ", "function": "EXECUTE ON FUNCTION ", "table": "the rights that docs/postgres.md lists ON ",
		}[named[1]] + named[2]
	}
	if !strings.Contains(text, "NOPERM") {
		return ""
	}
	if named := deniedCommand.FindStringSubmatch(text); named != nil {
		return "+" + named[1]
	}
	if strings.Contains(text, "grant ") {
		return "" // err has the remedy
	}
	if strings.Contains(text, "channel") {
		return "& and the prefix, a colon and an asterisk"
	}
	return "~ and the prefix, a colon and an asterisk"
}

// Explain describes err and its remedy to an operator.
func Explain(err error) string {
	switch right := lackedRight(err); {
	case errors.Is(err, ErrNoOwners):
		return err.Error()
	case right != "":
		return err.Error() + "; the user of the store lacks a right: grant " + right
	case errors.Is(err, tasks.ErrNotFound):
		return "there is no such task; it may have expired"
	case errors.Is(err, taskstore.ErrOutcomeUnknown):
		return err.Error() + "; look at the task, then try again"
	}
	return err.Error()
}
