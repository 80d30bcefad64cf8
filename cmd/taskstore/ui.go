package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/ui"
)

func (a *app) uiCommand() *cobra.Command {
	var s scope
	var opts ui.Options
	var address, tokenFile string
	cmd := &cobra.Command{
		Use: "ui [--owner NAME | --all]", Short: "Serve a page that shows tasks as they change, and with --write cancels them; until interrupted",
		Args: usageArgs(cobra.NoArgs),
		PreRunE: func(*cobra.Command, []string) (err error) {
			s.all = s.all || s.owner == ""
			if err := s.check(); err != nil {
				return err
			}
			if opts.Interval <= 0 {
				return usagef("--interval must be positive")
			}
			opts.Owner = s.owner
			opts.Token, err = a.uiToken(tokenFile)
			return err
		},
		RunE: a.withStore(func(ctx context.Context, b taskstore.StorageBackend, _ []string) error {
			return a.serveUI(ctx, b, address, opts)
		}),
	}
	s.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&address, "listen", "127.0.0.1:8370", "address and port of the page; an address that other machines reach needs a token")
	flags.StringVar(&tokenFile, "token-file", "", "file whose first line is the token for logging in; else $TASKSTORE_UI_TOKEN; without a token the page is open")
	flags.StringSliceVar(&opts.Hosts, "host", nil, "a name by which browsers reach the page, besides localhost and addresses")
	flags.BoolVar(&opts.Write, "write", false, "allow the page to cancel tasks")
	flags.BoolVar(&opts.Owners, "owners", false, "show the names of owners, in place of labels")
	flags.BoolVar(&opts.Payload, "payload", false, "allow the page to show payloads: arguments, questions, answers, result or error")
	flags.DurationVar(&opts.Interval, "interval", 5*time.Second, "time between polls of a store that sends no hints; each poll reads all tasks")
	return cmd
}

func (a *app) serveUI(ctx context.Context, b taskstore.StorageBackend, address string, opts ui.Options) error {
	if _, lists := taskstore.As[taskstore.OwnerLister](b); !lists && opts.Owner == "" {
		return look.ErrNoOwners
	}
	l, err := ui.Listen(address, opts.Token)
	if errors.Is(err, ui.ErrNoToken) {
		return usageError{err.Error()}
	}
	if err != nil {
		return err
	}
	may := "it only reads; --write lets it cancel tasks"
	if opts.Write {
		may = "it can cancel tasks"
	}
	if _, err := fmt.Fprintf(a, "http://%s/ (%s)\n", l.Addr(), may); err != nil {
		return errors.Join(err, l.Close())
	}
	return ui.Serve(ctx, l, b, opts)
}

// minToken is the least length of a token. It makes guessing infeasible.
const minToken = 16

// uiToken returns the token of the page, "" if it has no token.
func (a *app) uiToken(file string) (string, error) {
	token, from := a.getenv("TASKSTORE_UI_TOKEN"), "TASKSTORE_UI_TOKEN"
	given := token != "" || file != ""
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		line, err := bufio.NewReader(f).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", err
		}
		token, from = line, "the first line of --token-file"
	}
	token = strings.TrimSpace(token) // as the login does with what a browser sends
	if given && len(token) < minToken {
		return "", usagef("%s has fewer than %d characters; make one by: openssl rand -hex 16", from, minToken)
	}
	return token, nil
}
