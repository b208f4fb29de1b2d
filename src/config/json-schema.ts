/** The JSON Schema of the YAML, for editors: made of the same definitions that check it. */
import { z } from 'zod'
import type { RouterDefinition } from '../asgi/router.ts'
import type { MiddlewareDefinition } from '../middleware/definition.ts'
import { protocolTypeRouterName, referencePattern } from './grammar.ts'
import { refusalOf } from './refusal.ts'
import { routersOf, scopeTypes, type Registry } from './registry.ts'
import { ruleSettings, type RuleSetting } from './rule-settings.ts'
import { settingsSchema } from './settings.ts'

type Json = Record<string, unknown>

const reference: Json = {
  type: 'string',
  // A reference, or one with a variable in it.
  pattern: `${referencePattern.source}|\\$\\{`,
  description: 'An application: file.ts#Export, relative to this file, or package#Export.',
}

/** What `signalbox schema` prints. */
export function jsonSchema(registry: Registry): Json {
  const types = scopeTypes(registry)
  const { properties, ...rest } = plainSchema(settingsSchema)
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'A signalbox gateway',
    ...rest,
    properties: {
      ...(properties as Json),
      listen: {
        description: 'What to listen on, by protocol.',
        type: 'object',
        properties: Object.fromEntries(
          registry.definitions.map(({ name, options }) => [name, orNothing(plainSchema(options))]),
        ),
        additionalProperties: false,
        minProperties: 1,
      },
      application: { description: 'What gets the events.', ...ref('application') },
    },
    required: ['listen', 'application'],
    $defs: {
      application: application(registry, types, 'application'),
      ...Object.fromEntries(types.map((type) => [type, application(registry, [type], type)])),
      ...Object.fromEntries(ruleSettings.map(({ key, schema }) => [inRule(key), plainSchema(schema)])),
    },
  }
}

const inRule = (key: string): string => `rule.${key}`
const ref = (name: string): Json => ({ $ref: `#/$defs/${name}` })
const map = (properties: Json, required: readonly string[] = []): Json => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
})

/** The grammar at a place where scopes of these types can come; `self` is the name of this very definition. */
function application(registry: Registry, types: readonly string[], self: string): Json {
  const app = ref(self)
  const fits = ({ protocols }: RouterDefinition) =>
    self === 'application' || types.every((type) => protocols.includes(type))
  const mayStand = (definition: MiddlewareDefinition) =>
    self === 'application' || refusalOf(definition, {}, { protocols: types, registry }) === undefined
  const named = (name: string, value: Json) => map({ [name]: value }, [name])
  const routers = new Map(
    routersOf(registry)
      .filter(fits)
      .map((router) => [router.name, router]),
  )
  return {
    anyOf: [
      reference,
      named(protocolTypeRouterName, {
        description: 'Hands each scope to the application of its protocol.',
        ...map(Object.fromEntries(types.map((type) => [type, ref(type)]))),
      }),
      ...[...routers.values()].map((router) =>
        named(router.name, {
          type: 'array',
          minItems: 1,
          items: rule(
            router,
            app,
            ruleSettings.filter(({ definition }) => mayStand(definition)),
          ),
        }),
      ),
      ...registry.middleware.filter(mayStand).map(({ name, description, options }) => {
        const { properties, required, ...rest } = plainSchema(options)
        const withApp = {
          ...rest,
          description,
          properties: { ...(properties as Json), app },
          required: ['app', ...strings(required)],
        }
        return named(name, withApp)
      }),
      {
        description: 'A router of your own (a list of rules with app) or a middleware of your own (options, and app).',
        type: 'object',
        patternProperties: { '#': { anyOf: [{ type: 'array', items: withOwnKeys(app) }, withOwnKeys(app)] } },
        additionalProperties: false,
        minProperties: 1,
        maxProperties: 1,
      },
    ],
  }
}

/** A rule has exactly one of the router's keys, and `app`; and what every rule may have. */
function rule({ keys }: RouterDefinition, app: Json, settings: readonly RuleSetting[]): Json {
  const common = { app, ...Object.fromEntries(settings.map(({ key }) => [key, ref(inRule(key))])) }
  return {
    anyOf: Object.entries(keys).map(([key, { description, schema }]) =>
      map({ [key]: { ...plainSchema(schema), description }, ...common }, [key, 'app']),
    ),
  }
}

const withOwnKeys = (app: Json): Json => ({ type: 'object', properties: { app }, required: ['app'] })
const strings = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : [])
/** `http:` with nothing behind it takes every default. */
const orNothing = (schema: Json): Json =>
  strings(schema['required']).length > 0 ? schema : { ...schema, type: ['object', 'null'] }

function plainSchema(schema: z.core.$ZodType): Json {
  const { $schema, ...rest } = z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' })
  void $schema
  return withVariables(rest)
}

/** Wherever a number, a choice or a text of a certain form is expected, a variable may stand for it. */
function withVariables(schema: Json): Json {
  const { properties, items, anyOf, description, default: standard, ...own } = schema
  const inner: Json = { ...own }
  if (isJson(properties)) {
    inner['properties'] = Object.fromEntries(Object.entries(properties).map(([key, value]) => [key, orAsItIs(value)]))
  }
  if (items !== undefined) inner['items'] = orAsItIs(items)
  if (Array.isArray(anyOf)) inner['anyOf'] = anyOf.map(orAsItIs)
  const about = {
    ...(description !== undefined && { description }),
    ...(standard !== undefined && { default: standard }),
  }
  const strict = ['number', 'integer', 'boolean'].includes(String(own['type'])) || isStrictText(own)
  return strict ? { ...about, anyOf: [inner, { type: 'string', pattern: '\\$\\{' }] } : { ...about, ...inner }
}

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const orAsItIs = (value: unknown): unknown => (isJson(value) ? withVariables(value) : value)
const isStrictText = ({ type, pattern, format, enum: choices, const: only }: Json): boolean =>
  type === 'string' && [pattern, format, choices, only].some((limit) => limit !== undefined)
