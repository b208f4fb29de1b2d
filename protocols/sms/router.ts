/** SMSFromRouter: routes texts and status reports by the person at the other end. */
import { z } from 'zod'
import type { Matcher, RouterDefinition } from '../../src/asgi/router.ts'
import { defineRouter } from '../../src/routing/router.ts'
import { literalPrefix } from '../../src/routing/literal-prefix.ts'
import { compileSafely } from '../../src/routing/runaway.ts'
import { callingCode, countryOf, isE164 } from './phone.ts'
import type { SmsProtocol, SmsScope } from './scope.ts'

/** Longer senders are refused by every expression: a bound on what a costly one can cost. */
const longestForExpression = 256

export const smsFromRouterDefinition = {
  name: 'SMSFromRouter',
  protocols: ['sms'],
  keys: {
    phone: {
      description: 'how the number of the sender starts in E.164, such as "+1" or "+1415", in quotes',
      // Without quotes YAML reads +1 as the number 1, and the plus sign is gone before anybody sees it.
      schema: z.string({
        error: ({ input }) =>
          typeof input === 'number'
            ? `found the number ${input}, expected a prefix in quotes: phone: "+${input}"`
            : 'expected a prefix in quotes, such as "+1" or "+1415"',
      }),
      compile: compilePrefix,
    },
    regex: {
      description: 'a regular expression on the sender, such as ^\\+1(?:415|510) or ^whatsapp:',
      schema: z.string(),
      compile: compileExpression,
    },
    country: {
      description: 'the country of the number as ISO 3166 code, such as US or CA, which share +1',
      schema: z.string(),
      compile: compileCountry,
    },
  },
  address: (scope) => scope.from,
  // A number is filed digit by digit; all else as a whole, so that no prefix of digits ever meets it.
  tokens: (address) => (isE164(address) ? Array.from(address) : [address]),
} satisfies RouterDefinition<SmsScope>

/** `SMSFromRouter([{ phone: '+1', app }])`. */
export const SMSFromRouter = defineRouter<SmsProtocol, 'phone' | 'regex' | 'country'>(smsFromRouterDefinition)

/** Of twelve digits, when the prefix has not more already. */
function numberAfter(prefix: string): string {
  return prefix.padEnd(13, '5550100000')
}

function compilePrefix(prefix: string): Matcher {
  if (!/^\+[1-9]\d{0,14}$/.test(prefix)) {
    const hint = /^[1-9]\d{0,14}$/.test(prefix)
      ? `: write "+${prefix}", in quotes (YAML reads +${prefix} as a number)`
      : ''
    throw new Error(
      `expected a plus sign and the first digits of a number in E.164, such as "+1" or "+1415", found ${JSON.stringify(prefix)}${hint}`,
    )
  }
  return {
    text: `phone ${prefix}`,
    sample: numberAfter(prefix),
    tokens: Array.from(prefix),
    open: true,
    total: true,
    match: (address) => (isE164(address) && address.startsWith(prefix) ? { params: {}, rest: address } : undefined),
  }
}

function compileExpression(source: string): Matcher {
  const expression = compileSafely(source, 'u', longestForExpression)
  const literal = /^(?:\\\+)?\d+$/.test(source) ? source.replace('\\', '') : undefined
  return {
    text: `regex ${source}`,
    tokens: [],
    open: true,
    total: literalPrefix(source).text === '' && literalPrefix(source).everything,
    match(address) {
      if (address.length > longestForExpression) return undefined
      const found = expression.exec(address)
      if (!found) return undefined
      const groups = Object.entries(found.groups ?? {}).filter(([, value]) => value !== undefined)
      return { params: Object.fromEntries(groups), rest: address }
    },
    ...(literal !== undefined && {
      warning: `the expression is not anchored: it also matches ${literal.startsWith('+') ? `whatsapp:${literal}` : `+49${literal}`}; write ^ in front of it`,
    }),
  }
}

function compileCountry(country: string): Matcher {
  const code = callingCode(country)
  if (!code) {
    const hint = callingCode(country.toUpperCase())
      ? `: write ${country.toUpperCase()}`
      : country === 'UK'
        ? ': write GB'
        : ''
    throw new Error(
      `expected a country as two capital letters (ISO 3166), such as US or GB, found ${JSON.stringify(country)}${hint}`,
    )
  }
  return {
    text: `country ${country}`,
    sample: numberAfter(`+${code.code}`),
    tokens: Array.from(`+${code.code}`),
    open: true,
    total: code.alone,
    match: (address) => (countryOf(address) === country ? { params: {}, rest: address } : undefined),
  }
}
