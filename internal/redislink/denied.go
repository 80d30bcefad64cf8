package redislink

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A DeniedError says that a script came to a command that the user may not run, or that
// was taken away from the server. Servers before 7.2 name the line of the script and not
// the command, and none names one that it does not have.
type DeniedError struct {
	Commands []string // of that line
	Missing  bool     // from the server
	Changed  bool     // the line says that a record may have been changed by then
	Err      error
}

func (e *DeniedError) Error() string {
	if e.Missing {
		return "a script stopped, for the server does not have " + strings.Join(e.Commands, " or ") + ": " + e.Err.Error()
	}
	return "a script came to a command that the user may not run; grant +" + strings.Join(e.Commands, " +") + ": " + e.Err.Error()
}

func (e *DeniedError) Unwrap() error { return e.Err }

// harmless are the commands that leave a record as it was where they are refused:
// they read before the first write, or are the write that everything else is about. A
// script marks the lines on which they are not.
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

// changedMark ends a script's line that may come behind the change of a record.
const changedMark = "-- changed"

// Denied returns err, which came of s, and says which right or command is missing where
// that is why.
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

// namedCommand is how servers name the command; inside scripts those from 7.2 on do.
var namedCommand = regexp.MustCompile(`permissions to run the '([a-z|]+)`)

// NamedCommand returns the command that a server's refusal names; "": none.
func NamedCommand(err error) string {
	if named := namedCommand.FindStringSubmatch(err.Error()); named != nil {
		return named[1]
	}
	return ""
}
