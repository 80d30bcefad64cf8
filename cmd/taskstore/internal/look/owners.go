package look

import (
	"context"
	"errors"
	"slices"

	"github.com/taskstore/taskstore/tasks"
)

// ErrNoOwners is the error of a store that cannot list its owners.
var ErrNoOwners = errors.New("this store cannot list its owners; name one by --owner")

// Owners returns the owners of tasks, sorted.
func Owners(ctx context.Context, i *tasks.Inspector) (all []string, err error) {
	for owner, err := range i.Owners(ctx) {
		if errors.Is(err, errors.ErrUnsupported) {
			return nil, ErrNoOwners
		}
		if err != nil {
			if right := lackedRight(err); right != "" {
				return nil, OwnersRightError{right}
			}
			return nil, err
		}
		all = append(all, owner)
	}
	slices.Sort(all)
	return all, nil
}

// An OwnersRightError reports that the right to list owners is missing.
type OwnersRightError struct{ right string }

func (e OwnersRightError) Error() string {
	return "the user of the store may not list owners: grant " + e.right + ", or name one owner by --owner"
}
