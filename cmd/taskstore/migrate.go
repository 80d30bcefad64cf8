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
		Use: "migrate", Short: "Create or update the schema in PostgreSQL",
		Long: "Create or update the schema in PostgreSQL, in one transaction. " +
			"The user of the URL owns the schema; servers can use another user with fewer rights. Other stores need no migration.",
		Args: usageArgs(cobra.NoArgs),
		RunE: a.limited(func(ctx context.Context, _ []string) error {
			address, err := a.storeAddress()
			if err != nil {
				return err
			}
			scheme, _, _ := strings.Cut(address, ":")
			if scheme = strings.ToLower(scheme); scheme != "postgres" && scheme != "postgresql" {
				return usagef("migrate is for PostgreSQL; other stores have no schema to migrate")
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
