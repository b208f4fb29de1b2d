/** Which keys a schema knows at a path: what a misspelt key could have meant. */
import type { z } from 'zod'
import type { Path } from './diagnostics.ts'

type Schema = z.core.$ZodType

/** The keys of the map at the path; empty when the schema has none there. */
export function keysAt(schema: Schema, path: Path): readonly string[] {
  let here = [schema]
  for (const step of path) here = here.flatMap(unwrapped).flatMap((inner) => below(inner, String(step)))
  return [...new Set(here.flatMap(unwrapped).flatMap((inner) => Object.keys(shapeOf(inner))))]
}

const definitionOf = (schema: Schema): z.core.$ZodTypes['_zod']['def'] => (schema as z.core.$ZodTypes)._zod.def

/** The schemas inside of optional ones, ones with defaults, transformed ones and unions. */
function unwrapped(schema: Schema): Schema[] {
  const definition = definitionOf(schema)
  switch (definition.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'nonoptional':
    case 'readonly':
    case 'catch':
      return unwrapped(definition.innerType)
    case 'pipe':
      return unwrapped(definition.in)
    case 'union':
      return definition.options.flatMap(unwrapped)
    case 'lazy':
      return unwrapped(definition.getter())
    default:
      return [schema]
  }
}

function shapeOf(schema: Schema): Readonly<Record<string, Schema>> {
  const definition = definitionOf(schema)
  return definition.type === 'object' ? definition.shape : {}
}

function below(schema: Schema, step: string): Schema[] {
  const definition = definitionOf(schema)
  if (definition.type === 'array') return [definition.element]
  if (definition.type === 'record') return [definition.valueType]
  const inner = shapeOf(schema)[step]
  return inner ? [inner] : []
}
