/** Numbers: what is one in E.164, and which country it belongs to. */
import { createRequire } from 'node:module'
import type * as LibPhoneNumber from 'libphonenumber-js/min'

/** The countries that share a calling code, by the code; the one it is best known for stands first. */
type CallingCodes = Readonly<Record<string, readonly string[]>>

interface Plans {
  readonly library: typeof LibPhoneNumber
  readonly callingCodes: CallingCodes
}

// The number plans take 15 MB. The first rule that names a country loads them; at once, because rules are compiled at once.
const require = createRequire(import.meta.url)
let loaded: Plans | undefined

function plans(): Plans {
  loaded ??= {
    library: require('libphonenumber-js/min') as typeof LibPhoneNumber,
    callingCodes: (require('libphonenumber-js/metadata.min.json') as { country_calling_codes: CallingCodes })
      .country_calling_codes,
  }
  return loaded
}

/** Whether this is a number in E.164: a plus sign and up to 15 digits. Short codes, sender names and `whatsapp:…` are not. */
export function isE164(address: string): boolean {
  return /^\+[1-9]\d{1,14}$/.test(address)
}

/** The calling code of a country, and whether it has it alone; undefined when there is no such country. */
export function callingCode(country: string): { readonly code: string; readonly alone: boolean } | undefined {
  const { library, callingCodes } = plans()
  if (!library.isSupportedCountry(country)) return undefined
  const code = library.getCountryCallingCode(country)
  return { code, alone: callingCodes[code]?.length === 1 }
}

/**
 * The country of an E.164 number. Where several share a calling code the number plan decides; a number that no plan gives
 * out, as those of films and tests, belongs to the country that the code is best known for (+1 US, +44 GB).
 */
export function countryOf(address: string): string | undefined {
  if (!isE164(address)) return undefined
  const { library, callingCodes } = plans()
  // ITU-T E.164 annex D: no calling code is the beginning of another.
  const sharing = [1, 2, 3].map((length) => callingCodes[address.slice(1, 1 + length)]).find((found) => found)
  if (!sharing || sharing.length === 1) return sharing?.[0]
  return library.parsePhoneNumberFromString(address)?.country ?? sharing[0]
}
