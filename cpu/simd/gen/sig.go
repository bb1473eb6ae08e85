package main

import (
	"go/token"
	"go/types"

	"github.com/mmcloughlin/avo/gotypes"
)

// pkg stands for package simd, which this module can't import.
var pkg = types.NewPackage("simd", "simd")

// takes is func(t *name); of the type only the name is needed, as the offsets of its fields are written here.
func takes(name string) *gotypes.Signature {
	named := types.NewNamed(types.NewTypeName(token.NoPos, pkg, name, nil), types.NewStruct(nil, nil), nil)
	arg := types.NewVar(token.NoPos, pkg, "t", types.NewPointer(named))
	return gotypes.NewSignature(pkg, types.NewSignatureType(nil, nil, nil, types.NewTuple(arg), nil, false))
}
