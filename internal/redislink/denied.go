package redislink

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A DeniedError says that a script reached a command that the user may not run or that was
// removed from the server. Servers before 7.2 name the script's line instead of the
// command, and all servers do so for a command that they do not have.
type DeniedError struct {
	Commands []string // on that line
	Missing  bool     // the server does not have it
	Changed  bool     // the line is marked: a record may have been changed by then
	Err      error
}

func (e *DeniedError) Error() string {
	if e.Missing {
		return "a script failed: the server lacks " + strings.Join(e.Commands, " or ") + ": " + e.Err.Error()
	}
	return "a script failed: the user may not run one of its commands; grant +" + strings.Join(e.Commands, " +") + ": " + e.Err.Error()
}

func (e *DeniedError) Unwrap() error { return e.Err }

// harmless are the commands whose refusal leaves a record as it was: they read before the
// first write, or are the write of the record itself. A script marks the lines that are
// exceptions.
var harmless = []string{"hmget", "hget", "exists", "time", "zcard", "zcount", "zscore", "hset", "del"}

// unchanged reports whether the record is surely as it was.
func (e *DeniedError) unchanged() bool {
	return !e.Changed && !slices.ContainsFunc(e.Commands, func(c string) bool { return !slices.Contains(harmless, c) })
}

var (
	deniedInScript  = regexp.MustCompile(`ACL failure in script|The user executing the script can't`)
	missingInScript = regexp.MustCompile(`Unknown (Redis )?command called from`)
	lineOfScript    = regexp.MustCompile(`@user_script: ?(\d+)`)
	callInScript    = regexp.MustCompile(`redis\.p?call\('([A-Z]+)'`)
)

// changedMark ends a line of a script that may run after a record has changed.
const changedMark = "-- changed"

// Denied returns err, which came of s, as a DeniedError if a missing right or command is
// the cause.
func (s *Script) Denied(err error) error {
	var said redis.Error
	if !errors.As(err, &said) {
		return err
	}
	missing := missingInScript.MatchString(said.Error())
	if !missing && !deniedInScript.MatchString(said.Error()) {
		return err
	}
	at := lineOfScript.FindStringSubmatch(said.Error())
	if at == nil {
		return err
	}
	lines := strings.Split(s.Source, "\n")
	n, _ := strconv.Atoi(at[1])
	if n < 1 || n > len(lines) {
		return err
	}
	var commands []string
	for _, call := range callInScript.FindAllStringSubmatch(lines[n-1], -1) {
		if name := strings.ToLower(call[1]); !slices.Contains(commands, name) {
			commands = append(commands, name)
		}
	}
	if named := namedCommand.FindStringSubmatch(said.Error()); named != nil && slices.Contains(commands, named[1]) {
		commands = named[1:]
	}
	if len(commands) == 0 {
		return err
	}
	return &DeniedError{commands, missing, strings.HasSuffix(lines[n-1], changedMark), Redact(err)}
}

// namedCommand matches the command that servers name; inside scripts those from 7.2 on do.
var namedCommand = regexp.MustCompile(`permissions to run the '([a-z|]+)`)

// NamedCommand returns the command that a server's refusal names, or "" if it names none.
func NamedCommand(err error) string {
	if named := namedCommand.FindStringSubmatch(err.Error()); named != nil {
		return named[1]
	}
	return ""
}
