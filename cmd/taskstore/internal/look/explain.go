package look

import (
	"errors"
	"regexp"
	"strings"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// How a server says which right is missing: Redis the command, PostgreSQL the object.
var (
	deniedCommand = regexp.MustCompile(`permissions to run the '([a-z|]+)'`)
	deniedObject  = regexp.MustCompile(`permission denied for (schema|table|function) (\S+) \(SQLSTATE 42501\)`)
)

// lackedRight returns what to grant where err says that a right is missing; "": it does not.
func lackedRight(err error) string {
	text := err.Error()
	if named := deniedObject.FindStringSubmatch(text); named != nil {
		return map[string]string{
			"schema": "USAGE ON SCHEMA ", "function": "EXECUTE ON FUNCTION ", "table": "what docs/postgres.md lists ON ",
		}[named[1]] + named[2]
	}
	if !strings.Contains(text, "NOPERM") {
		return ""
	}
	if named := deniedCommand.FindStringSubmatch(text); named != nil {
		return "+" + named[1]
	}
	if strings.Contains(text, "grant ") {
		return "" // it says so
	}
	if strings.Contains(text, "channel") {
		return "& and the prefix, a colon and an asterisk"
	}
	return "~ and the prefix, a colon and an asterisk"
}

// Explain returns what went wrong and what to do.
func Explain(err error) string {
	switch right := lackedRight(err); {
	case errors.Is(err, ErrNoOwners):
		return err.Error()
	case right != "":
		return err.Error() + "; the user of the store lacks a right: grant " + right
	case errors.Is(err, tasks.ErrNotFound):
		return "there is no such task; it may have expired"
	case errors.Is(err, taskstore.ErrOutcomeUnknown):
		return err.Error() + "; look at the task and do it again"
	}
	return err.Error()
}
