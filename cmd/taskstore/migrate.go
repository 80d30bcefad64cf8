package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskstore/taskstore"
)

func (a *app) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Make the schema of a PostgreSQL, or bring it up to date",
		Long: "Make the schema of a PostgreSQL, or bring it up to date, in one transaction. " +
			"The user of the URL owns what it makes; servers can use another one with fewer rights. Other stores need none of it.",
		Args: usageArgs(cobra.NoArgs),
		RunE: a.limited(func(ctx context.Context, _ []string) error {
			address, err := a.storeAddress()
			if err != nil {
				return err
			}
			scheme, _, _ := strings.Cut(address, ":")
			if scheme = strings.ToLower(scheme); scheme != "postgres" && scheme != "postgresql" {
				return usagef("migrate is for PostgreSQL; other stores have nothing to migrate")
			}
			b, err := openAddress(ctx, address, a.prefix, url.Values{"migrate": {"true"}})
			if err != nil {
				return err
			}
			defer taskstore.Close(b)
			_, err = fmt.Fprintln(a, "the schema is up to date")
			return err
		}),
	}
}
