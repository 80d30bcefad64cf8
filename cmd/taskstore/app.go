package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
)

// The exit codes. For doctor they grade the store.
const (
	exitOK          = 0
	exitFailed      = 1 // doctor: a promise is weakened
	exitUnusable    = 2 // doctor alone
	exitUsage       = 64
	exitInterrupted = 130
)

// An app is one run of the command.
type app struct {
	in       io.Reader
	out, err io.Writer
	outTTY   bool // out is a terminal
	errTTY   bool
	getenv   func(string) string
	open     func(ctx context.Context) (taskstore.StorageBackend, error)

	storeURL  string
	storeFile string
	prefix    string
	timeout   time.Duration

	code  int    // the exit code of a command that did its work
	clear func() // hides the bar; nil: no bar
}

func newApp() *app {
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		outTTY: term.IsTerminal(int(os.Stdout.Fd())), errTTY: term.IsTerminal(int(os.Stderr.Fd())),
	}
	a.open = a.openStore
	return a
}

// A usageError is a mistake in the command line.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// run executes the command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.command()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return a.code
	case ctx.Err() != nil:
		fmt.Fprintln(a.err, "taskstore: interrupted")
		return exitInterrupted
	}
	fmt.Fprintln(a.err, "taskstore: "+strings.TrimPrefix(safeLine(look.Explain(err)), "taskstore: "))
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return max(a.code, exitFailed)
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "taskstore",
		Short:         "Inspect a store of tasks, repair it, and check its configuration",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err.Error()} })
	flags := root.PersistentFlags()
	flags.StringVar(&a.storeURL, "store", "", "URL of the store, without a password; else $TASKSTORE_URL, which may have one")
	flags.StringVar(&a.storeFile, "store-file", "", "file whose first line is the URL of the store; - for standard input")
	flags.StringVar(&a.prefix, "prefix", "", "prefix of the keys in Redis, or schema in PostgreSQL (default taskstore)")
	flags.DurationVar(&a.timeout, "timeout", 0, "end the command after this time; 0: no limit")
	root.AddCommand(
		a.lsCommand(), a.getCommand(), a.watchCommand(), a.topCommand(), a.uiCommand(), a.ownersCommand(),
		a.cancelCommand(), a.failCommand(), a.deleteCommand(), a.purgeCommand(),
		a.doctorCommand(), a.migrateCommand(), a.benchCommand(), a.versionCommand(),
	)
	checkAdded(root)
	return root
}

// checkAdded has the commands that cobra adds report mistakes as all others do.
func checkAdded(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return usagef("there is no command %q", strings.Join(args, " "))
				}
				return nil
			}
		case "completion":
			c.Args, c.RunE = usageArgs(cobra.NoArgs), root.RunE
			for _, shell := range c.Commands() {
				shell.Args = usageArgs(shell.Args)
			}
		}
	}
}

// usageArgs turns an error of check into a usageError.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err.Error()}
		}
		return nil
	}
}

// withStore opens the store, calls f with it, and closes it, all within the timeout.
func (a *app) withStore(f func(ctx context.Context, b taskstore.StorageBackend, args []string) error) func(*cobra.Command, []string) error {
	return a.limited(func(ctx context.Context, args []string) (err error) {
		b, err := a.open(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, taskstore.Close(b)) }()
		return f(ctx, b, args)
	})
}

// limited limits f to the timeout.
func (a *app) limited(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if a.timeout < 0 {
			return usagef("--timeout must not be negative")
		}
		if a.timeout > 0 {
			limited, cancel := context.WithTimeout(ctx, a.timeout)
			defer cancel()
			err := f(limited, args)
			if err != nil && limited.Err() != nil && ctx.Err() == nil {
				return fmt.Errorf("the command reached its --timeout of %v", a.timeout)
			}
			return err
		}
		return f(ctx, args)
	}
}
