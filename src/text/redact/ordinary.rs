//! Ordinary English words: what stands where a name may stand, and is none of them, is likely one.
//!
//! What it does not do: hold all words; those of calls, their endings aside. Who calls it: [`super::names`], [`super::addresses`].

use super::lists::{FILLERS, List, PLACES, REMARKS, list};
use super::people::{NO_NAMES, RARE};

/// Words without their endings.
static ORDINARY: List = list!(
    "aba abandon aboard above abroad abrupt absence absent absurd abuse academy accent accept access accident accidental accommodate \
     accord accountant accurate accuse ace ache achieve acid acre act action actor actual adapt add addict adequate adjacent adjust \
     admin admire admit adopt adult advance advantage adventure advert advice advise aerial aerobics affair affect afford africa \
     african afternoon aggregate agree aid aim ain't air airbnb aircon airfield airline airport aisle alarm album alcohol aldi alert \
     alexa alien align alike alive allergic allergy alley allow allowance almond almost alone alongside aloud alpha alphabet alter \
     alternate although amateur amaze amazon ambulance amend america american amex amid among amongst amount ample amtrak amuse analyse \
     analysis ancient android anger angle angry animal ankle anniversary announce annoy annual another answer antenna antibiotic \
     anticipate antique anxiety anymore anytime anyway anywhere apart apologise apologize apology app appal apparently appear appetite \
     apple appliance applicant appoint appreciate approach appropriate approve approximate april apron aquarium arabic arch area \
     argentina argos argue arm armchair arrange arrear arrest art arthritis artichoke article artist asda ashamed asia aside ask asleep \
     asos asparagus aspect assault assemble assembly assess asset assign assist assistance assistant associate assume assure asthma \
     asthmatic ate athlete atlantic attach attack attempt attend attic attitude attract audi audience audio audit august aunt australia \
     australian austria authentic author auto automatic autumn avenue average avocado avoid await awake award awesome awkward axe baby \
     bachelor backache background backpack backup backward bacon badge badminton baffled bag bagel baggage bail bake balance balcony \
     bald ball ballet balloon banana band bandage bang bangladesh bangladeshi bankrupt banner bar barbecue barber barclaycard barclays \
     barcode bare bargain barista bark barn barrel base basic basically basil basin basket basketball bat batch bath bathroom battery \
     battle battlefield bay beach beam bean beard beast beat beauty became become bed bedroom bedside bee beef beep beer beetroot beg \
     began begin begun beige belgian belgium belief believe bell belong below belt bench bend beneath beneficiary benefit bengali bent \
     berry best bet bic bid bike billion bin binary bind bird biscuit bite bizarre black blackberry blade blame blank blanket blast \
     blaze blazer bleach bleed blend bless blew blimey blind blink block blonde blood bloom blouse blow blown blue blueprint blur bmw \
     board boat body boil bold bolt bomb bond bone bonkers bonnet bonus book boom boost boot border bore boss bottle bottom bought \
     bounce bound boundary bow bowel bowl box boy boyfriend bra bracelet bracket brain brake brand brave brazil bread break breakaway \
     breakdown breath breathe bred breed breeze brexit brick bride bridge brief briefcase bright brill bring britain british bro broad \
     broadway broccoli broke brother brought browse bruise brush bubble bucket buckle bud buddy budget buffer buffet bug build built \
     bulb bulk bull bullet bump bunch bundle bunk burden bureau burger burglar burn burrito burst bus bush bust butcher button buy buzz \
     bye cab cabbage cabin cabinet cable cableway cafe cage cake calculate calendar calf callback calm cambridge came camera camp \
     campaign campus canadian cancel cancer candidate candle candy canterbury cantonese cap cappuccino captain capture caramel caravan \
     carbon care cargo carpet carriage carriageway carrot cart carton cartoon cartwheel cash cashew cashier casino cast castaway castle \
     casual cat catalogue catch category cattle caught cauliflower cause causeway cave cease ceiling celebrate celery cell cellar cello \
     cement cent central centre century cereal ceremony certain certificate chain chair challenge chamber champion chance channel chaos \
     chapel chapter character charger charm chart chase chat cheat checkin checkout cheek cheer cheerio cheese chef chemist \
     chemotherapy cheque cherry chest chevrolet chevy chew chick chicken chief child childcare childhood children chile chill chimney \
     chin china chinese chip chocolate choice choke choose chop chose chosen christ christmas chrome chronic chuffed chunk church cider \
     cigarette cinema cinnamon circle circuit circumstance cite citi citibank citizen citroen civil claim clash class classic classroom \
     clause clean clear clearance clerk clever click client cliff climate climb cling clinic clip clock close closet closure cloth \
     clothe cloud club clue clumsy cluster clutch coach coal coast coat cobra coconut coffee coin coincidence coke cold colgate \
     collapse collar collect college colombia color colour column comb combine comcast comfort comic command commercial commit \
     committee common communicate commute companion compare comparison compensate compete complain complaint complete complex \
     compliance complicate comply component compound compromise computer conceal concern concert conclude concrete conduct conference \
     confess confidence confident confidential confirm conflict confuse connect consent consequence consider consist console consonant \
     constant consult consumer contact contain content contest context continent contractor contrary contrast contribute control \
     convenience convenient convent convert convict convince cook cookie cooperate cope copper cord core coriander cork corn corona \
     coronavirus corporate correspond corridor corrupt cosmetic cost costa costco costume cot cottage cotton couch cough council \
     counsel count country countryside couple courage courier course court courtesy cousin cover covid cow crab crack craft cramp crane \
     crash crazy cream create creature credential credit creep crew cricket crime criminal crisis crisp criteria critic criticise crook \
     crop cross crowd crown crucial cruel cruise crunch crush crutch cry crystal csc cube cucumber cue cuff cup cupboard curb cure curl \
     currency current curry curse cursor curtain curve cushion custody custom cut cute cutlery cvc cycle czech dad daft daily dairy dam \
     damage damn damp dance dandy danger dare dark darling dashboard data database daughter dawn daytime dead deadline deaf deal dear \
     death debate debit debt decade deceased december decent decide decimal deck declare decline decorate decrease dedicate deep \
     default defeat defect defence defend define definite degree delay delegate delete deliberate delicate delight deliver delta demand \
     dementia demo democracy den denial dense dent dental dentist depart depend dependent deposit depot depress depth deputy describe \
     desert deserve design desire desk desktop desperate despite dessert destroy detach detail detect detergent determine develop \
     device dhl diabetes diabetic diagnose diagram dial dialect diamond diaper diarrhoea diary dice dictionary die diesel diet differ \
     difference difficult dig digit digital dim dine diploma dire direct directory dirt disagree disappear disappoint disaster disc \
     discharge disconnect discontinue discount discover discrepancy discuss disease disgrace disgust dish dishwasher disk dismiss \
     disney disorder dispatch display dispose dispute disrupt dissatisfied distance distant distinct distress distribute district \
     disturb ditch dive divert divide divorce diwali dizzy doable dock dodge dog doll dollar dolphin domain domestic dominate donate \
     donor dont door doorbell doorstep doorway dose doubt dough doughnut downgrade downhill download downstairs downtown dozen dpd \
     draft drag drain drama drank draw drawbridge drawn dread dream dress drew dried drift driftwood drill drink drive driven driveway \
     drone drop drove drown drug drum drunk dry duck dude dull dumb dump dumpling dunno duplicate dust dutch duty duvet dvd dying dyson \
     eager eagle ear earn earphone earth earthquake ease east eastern easyjet eat ebay echo economic economy edge edit editor educate \
     effect efficient effort egg ego egypt egyptian eid eight eighteen eighth elbow elder elect electric electrician electronic elegant \
     elephant elevator eleven eleventh eliminate elsewhere embarrass embassy emergency emirates emotional empathy emphasis empire \
     employ employee empty enable enclose encounter encourage endorse enemy energy enforce engage engine england english enjoy enough \
     enquire enrol ensure enter entertain enthusiasm entire entirety entitle entrance entry envelope envy episode equal equate equip \
     equivalent era erase error escalate escape esim especially espresso essay essence essential establish estate estimate etc eternal \
     ethernet etsy euro europe eurostar evacuate evaluate even event eventual eventually ever everyday everyone evidence evident evil \
     evri exact exaggerate exam example exceed except excess exchange excite exclude excuse execute executor exempt exercise exhaust \
     exhibit exist exit exotic exp expand expect expedia expense experience expert expire explain explicit explode explore export \
     expose express extend extent exterior extra extract extraordinary extreme eye eyesight fab fabric face facebook facetime fact \
     factor fade fail failure faint fair faith fake falafel fall false fame familiar fan fancy farewell fargo farm fashion fat fatal \
     fate father fault favor favorite favour favourite fax fear feather feature february fed federal fedex fee feed feedback feel feet \
     fell fellow felt female fence fern ferry festival fetch fever fiancee fiat fiber fibre fiddle field fierce fifteen fifth fifty fig \
     fight figure fill film filter filthy final finance financial find finger finish fire firefox firewood firm fish fist fit five fix \
     flag flake flame flamingo flash flashlight flat flavor flavour flaw flea fleet flesh flew flick flight flip float flock flood \
     floor florist flour flow flu fluid fluke flush flute fly foam focus fog fold folk folks follow folly fond food fool foolish foot \
     football footbridge footpath forbidden force ford forecast foreign forever forget forgot forgotten fork form formal format formula \
     forth fortnight fortunate fortune forty forum forward foul found fountain four fourteen fourth fox fracture fragile frame \
     framework france franchise frankly fraud fraudulent freak freedom freelance freeway freeze freight french frequency frequent fresh \
     fridge fried friend friendship frighten frog front frost froze frozen fruit frustrate fry fudge fuel fulfil fulfill fumble fume \
     fun fund fundamental funeral fur furloughed furnace furniture further fuse fuss future fuzzy gadget gain gallery gallon game gap \
     garage garbage garden garlic gas gate gateway gather gauge gave gay gear gearbox gender general generate generator genius gentle \
     gentleman gentlemen genuine german gesture getaway ghana ghanaian ghastly ghost giant giffgaff gift gigabyte gigantic ginger \
     giraffe girl girlfriend giveaway given glance glass glitch global gloom glove glow glue gmail goal goat gobsmacked god goes \
     goggles gold golden golf gone goodbye google goose gosh gossip gotta gotten govern governor gown grab grade gradual graduate grain \
     grammar gran grand grandad granddaughter grandfather grandma grandmother grandpa grandparent grandson grant graph graphic grass \
     grave gravel gray greece greed greek green greet grew grey greyhound grief grill grim grip grocery groom gross ground grow grown \
     growth guarantee guard guardian guava guess guest guidance guide guideline guilt guitar gujarati gum gun gut guy guys gym habit \
     hack haha hail hair haircut hairdresser half halfway halifax hall halloween hallway halt halve ham hamster hand handbag handle \
     handset handsome hanukkah happen harbor harbour hard hardware hardwood harm harp harsh harvest hat hate haul haunt hay hazard \
     hazelnut head headache header headlight headline headphone headquarter headset heal health heap hear heard heart heat heaven heavy \
     hectic hedge heel height heir held helicopter hell helmet hen hence herb heritage hermes hero herself hesitate hid hidden hide \
     hideaway hierarchy high highlight highway hike hill himself hinder hindi hinge hint hip hire history hit hiya hob hockey hoist \
     hole holiday holland hollow hollywood homework honda honest honey honor honour hood hook hoover hop hope horn horrid horror horse \
     hose hospice hospital host hostel hot hotel hotline hotmail hotspot house household howdy hsbc huawei hub huge hulu human humble \
     humid hummus humor humour hundred hung hungarian hungary hungry hunt hurricane hurry hurt husband hybrid hygiene hyundai iban \
     ibuprofen ice icloud icon idea ideal identify idiot idle ignore iguana ikea ill illegal image imagine imei immediate immigrant \
     immune impact impatient imperfect implant implicit imply import impose impress improve impulse inaccurate inappropriate inbox inch \
     incident include income inconvenience inconvenient increase incur indeed indent independent index india indian indicate indicator \
     individual indoor industry infant infect influence inform informal ingredient inhale inherit inject injure ink inland inn innocent \
     input inquire insane insect insert insist insolvent inspect inspector inspire instagram install instance instant instead instinct \
     institute instruct insufficient insulin insult insure intact integrate intelligent intend intense intent interact intercom \
     interest interfere interim interior intermittent internal international interpret interrupt interval interview intimate introduce \
     invade invalid invent invest investigate investor invite invoice involve ipad iphone ireland irish iron ironic ironically \
     irrelevant irritate island isolate israel issue italian italy itch item itin itself ivory jab jacket jail jam january japan \
     japanese jar jaw jazz jeans jeep jelly jet jewel jewellery jewelry job jog jogging join joint joke journal journalist journey joy \
     judge jug juggling juice july jumble jump june jungle junior junk jury justice justify karaoke keen kenya kenyan kept ketchup \
     kettle key keyboard keypad kia kick kid kidney kill kilo kilometre kimchi kinda kindle king kingdom kiss kit kitchen kitten kiwi \
     klarna knackered knee kneel knew knife knight knit knob knock knot knowledge known koala korea korean lab label labor labour lace \
     lack ladder ladies lady lag laid lake lamb lamp land landlady landline landlord landscape lane language lap laptop larder lasagne \
     laser latex latte laugh launch laundry law lawn lawyer lay layout layover lazy lead leaf leaflet league leak lean leap learn lease \
     leather leave lecture led ledger leek leg legal legend legitimate leisure lemon lend length lens lentil lesson lethal lettuce \
     level liable liberty library licence license lid lidl lie life lift light lightbulb lightning limb lime limit limp linear linen \
     linger link linkedin lion lip liquid list listen lit literal litre livid lizard lloyds load loaf loan lobby lobster local locate \
     locator lock lodge loft log logic login logistics logo lol lone look loop loose lord lorry lose loss lost loud lounge love low \
     loyal loyalty luck lufthansa luggage lump lunatic lung lush luxury lying mac machine mackerel mad madam made maestro magazine \
     magic magnet magnificent maid maiden mail mailbox main maintain maintenance major makeup male mall man manage mandarin mandatory \
     mango manual manufacture map maple marathon marble march margin marine mark market marmalade marriage marry mascara mask mass \
     massage master mastercard match mate material math matter mattress mature maximum may mayonnaise mayor mazda meal meanwhile \
     measure meat mechanic medal media medicare medicine medium meet megabyte melon melt member membership memo memorial memory men \
     menace mend mental menu mercedes merchant mercy mere merge meringue merry mess message messenger met metal method metre mexico \
     microphone microsoft microwave midday midnight midwife might migraine mild mileage military milk mill million mind minefield \
     mineral minimal minimum minister ministry minor mint minus miracle mirror misery mislaid mislead misplaced mist mistake mistaken \
     misunderstanding mix mixture mobile mocha model modem moderate modern modest moist moisture mold mole molecule mom money monitor \
     monkey monster monzo mood moon moral morning moroccan morocco morrisons mortgage mosquito mot motel mother motion motivate motor \
     motorbike motorway mould mount mountain mouse mouth move movie mri mrn mud muddle muesli mug multiple mum muscle museum mushroom \
     music must mustard mute mutual myself mystery nachos nah nail naked nan napkin narrow nasty nation national nationwide natural \
     nature natwest naughty nausea navigate navy neat necessary neck necklace needle neglect negotiate neighbor neighborhood neighbour \
     neighbourhood neither nephew nerve nest net netflix netherlands network neutral newborn newsletter newspaper nhs niece nigeria \
     nigerian night nightmare nil nine nineteen ninety nintendo ninth nissan noise nokia nominate none nonsense noodle noon norm normal \
     north northern nose note notebook notice notify notion noun novel november nowhere nuisance null numb numeral numeric nursery nut \
     nutmeg o'clock oak oath oatmeal obey object obscure observe obsolete obtain occupy occur ocean october octopus odd offence offend \
     official offline offset offside oil ok'd olympic omelette omit ongoing onion online onto open opera operate opinion opponent \
     oppose opt optician option optional oral orange ordeal ordinary oregano organ organic organise organize orient original orphan \
     otherwise ought ounce ourself ourselves outage outcome outdoor outfit outlet outline outlook output outrage outstanding oven \
     overall overcharge overdraft overdraw overdrawn overdue overheat overlook overnight overpay overseas oversight overtime overview \
     owe owing own oxygen oyster pace pack package packet pad padlock page paid pain paint pair pakistan pakistani pal palace pale palm \
     pan pancake panel panic pant panther papaya paper paperwork paracetamol parade paragraph parallel paralysed paramount paranoid \
     parcel parched pardon parent park parkway parrot parse parsley parsnip partial participate particular partner partnership pass \
     passage passcode passenger passphrase passport pasta paste pastry pat patch path pathetic pathway patience patient patio patrol \
     pattern paw pay payee paypal payroll pea peace peak peanut pear peculiar pedal pedestrian peel peer pen penalty pencil pending \
     penicillin penultimate pepper per perform performance perfume perhaps period perk permanent permit persist personal persuade peru \
     pest pesto pet petrol peugeot pharmacist pharmacy phase philosophy phoenix photo photograph phrase physics physio piano pick \
     picnic picture pie piece pier pig pigeon pile pill pillow pilot pinch pineapple pink pint pinterest pipe pirate pistachio pit \
     pitch pixel pizza place plain plan plane planet plant plaster plastic plate platform play playing plaza plead pleasant pleasure \
     plenty plot plow plug plugin plum plumber plumbing plural plus plywood pneumonia pocket podcast poem poet poison poke poland pole \
     police policeman policyholder polish polite politics poll pollen pomegranate pond pony pool poolside pop popular populate porch \
     pork porridge port portal portfolio portugal portuguese pose posh possess post postage postal postcard postman postpone pot potato \
     potential pothole poultry pound pour poverty powder power practice practise praise prawn pray precise predict prefer preference \
     prefix pregnancy pregnant prejudice preliminary premier premise premium prepaid prepare prescribe presence present preserve preset \
     president press presume pretend pretzel prevent preview price prick pride priest primark primary prime prince princess principal \
     principle print prior prison privacy private privilege prize pro problem problematic procedure proceed process processor produce \
     product professional professor profile profit program programme progress project promise promo promote prompt pronoun proof \
     propane proper property proposal propose prosecco prosecute prospect protect protein protest protocol proud prove provide province \
     pub public publish pudding puk pull pulse pump pumpkin punch punctual puncture punish punjabi pupil puppy purchase pure purple \
     purpose purse pursue push puzzle python qantas qualify quart queen query queue quiche quick quid quiet quilt quit quiz quota quote \
     quotient rabbit race rack radiator radio radish raging rail railway rain rainbow raincoat raise ramadan ramp ran random rang range \
     rank rapid rare rash raspberry rat rate ratio ravioli raw razor reach react real realise realistic realize rear reason reassure \
     rebate reboot recall receipt recent receptionist recipe recipient reckon reclaim recognise recognize recommend reconnect \
     reconsider recover recreate recruit rectify recycle red reddit redeem redelivery redirect redo reduce redundancy redundant ref \
     referral refill reflect refresh refrigerator refund refuse reg regex region register regret regular rehab reimburse reinstate \
     reject relapse relate relationship relax release relevant relief relieve religion reload relocate reluctant rely remain remainder \
     remark remedy remember remind remote removal remove renault renew renewal renovate rent rental repeatedly replace replay reply \
     report repossess represent reproduce republic request require rescue research resend resent reserve reset residence resident \
     residential resign resist resolve resort resource respect respective respond response restart restaurant restore restrict result \
     resume retail retain retire retrieve retry return reveal revenue reverse revert revise revolut reward rewind rhubarb rhythm rib \
     rice rich ridden ride ridge rifle rig rigid rim ring rinse riot rip rise risk risotto ritual rival river riverbank road roadside \
     roaming roast robbery robot rock rocket rode rogue role roll romania romanian roof room root rope rose rot rotate rotten rough \
     round roundabout route routine row royal rub rubbish rude rug rugby ruin rule rumor run runaround runaway rung runway rural rush \
     russia russian rust ryanair sack sacred sad saddle safari safe safety saffron sail sainsbury's sake salad salary sale salmon salon \
     salt sample samsung sand sandbox sandwich sane sang sanitary santander sarcastic sardine sat satellite satisfy sauce sausage save \
     saw scalar scale scam scan scandal scar scarce scare scarf scatter scenario scene schedule scheme school science scissors scone \
     scooter scope score scotch scotland scottish scrap scream screen screenshot screw script scroll sea seagate seal search seaside \
     season seat seatbelt secondary secret secretary sector secure seed seek seem seen seize select self sell send senior sense sensor \
     sent sentence separate september sequel sequence serial series servant serve service sesame settee settle setup seven seventeen \
     seventh seventy severe sew sewage sex shade shadow shaft shake shall shallow shambles shame shampoo shape share shark sharp \
     shatter shave shed sheep sheet shein shelf shell shelter shift shine ship shirt shock shoe shook shoot shopkeeper shore shortage \
     shot shout shovel show shown shrimp shrink shrug shut shutdown shy sibling side sidewalk sigh sight sign signal signature \
     significant silence silent silk silly silver sim similar simple simplify sincere sing single sink sinus sir siri sister sit six \
     sixteen sixth sixty size skate skatepark skeleton sketch ski skill skin skint skip skirt skoda skull sky skype slack slam slang \
     slap slave sleep sleeve slept slice slid slide slight slip slogan slope slot sluggish smack smart smartphone smash smell smile \
     smoke smooth smudge smug snack snail snake snap snapchat sneak sneeze sniff snow soak soap sober soccer sock socket soda sofa soft \
     software soil solar sold soldier sole solicitor solid solve somehow sometime somewhat somewhere son song soon soothe sorbet sore \
     sorrow soul sound soup sour source south southern spa spaghetti spain spam span spanish spare spark special specialise specialist \
     species specific specifically specify spectacular speculate speech speed spend spent spice spider spike spill spin spinach spine \
     spirit spiritual spit spite splash splendid splinter split spoil spoken sponge sponsor spoon sport spot spotify sprain spray \
     spread spring springfield springtime sprint sprout spy square squash squeak squeal squeeze squid ssn stable stack stadium stage \
     staggering stain staircase stairs stairway stake stale stall stamp stance stand standard standby staple stapler star starbucks \
     stare starling startle starve stash stat static statistic status stay stead steak steal steam steel steep steer stem stencil step \
     stern stick stiff stir stitch stock stole stolen stomach stone stood stool stopover storage storm stove straight straightaway \
     straightforward strain stranded strange strap strategy straw strawberry stray stream street strength stretch strict strike string \
     strip stripe stroke stroll strong struck structure struggle stubborn stuck student studio study stuff stumble stumped stunned \
     stunning stupid sturdy style subaru subject submit subscribe subsequent subsidy substance substantial substitute subtitle subtle \
     subtract suburb subway succeed success such suck sudden suffer sufficient suffix sugar suggest suicide suit suitcase suite sum \
     summary summit sun sunburn sunglasses sunset sunshine super superb superior supermarket supper supply surcharge surface surfing \
     surge surgeon surgery surplus surprise surrender surround surveillance survey survivor sushi suspect suspend suspicion sustain \
     swallow swam swap swear sweat sweep sweet sweetheart swell swept swift swim swing swipe swiss switch switchboard switzerland \
     swollen sword sworn symbol symbolic sympathetic sympathy symptom syntax syringe syrup table tablet tackle taco tactic tag tail \
     tailor takeaway tale talent talk talktalk tall tamil tampered tan tank tap tapas tape target tariff taste tattoo taught tax taxi \
     taxpayer tea teach tear tease technician technique teenage teeth telephone telly temp temperature template tempo temporary ten \
     tenancy tenant tend tennis tense tent tenth term terminal terminate terrace terrify territory terror tesco tesla test text \
     textbook texture thai thailand thanksgiving theatre theft theme themselves theory therapist therapy thereafter thereby therefore \
     thermostat thick thief thigh thin think third thirst thirteen thirteenth thirtieth thirty tho thorn thorough thought thousand \
     thread threat threaten threw thrilled throat throne throughout throw throwaway thrown thru thumb thunder thus tick ticket tidal \
     tide tie tiger tight tiktok tile timber tin tip tire tiresome tissue title tmobile toast tobacco toddler toe tofu together toilet \
     tolerate toll tollgate tomato ton tone tongue tonne took tool toolbar tooth toothache top topic torch torn tortilla total touch \
     tough tour tourist tow toward towel town toxic toy toyota trace track tractor trade traffic tragedy tragic trail train tram \
     trampoline transcript transfer transform transit translate translator transparent transport trap trash trauma travel tray treasure \
     treat tree trend trial triangle tribe trick trigger trillion trim trip tripod troll troop trophy trouble trousers trout truck true \
     truly trunk trust truth tub tube tumble tummy tuna tune tunnel turkey turkish turnip turnover tutor tutorial tweet twelfth twelve \
     twentieth twenty twin twist twitter type typo tyre uber ugly ukraine ukrainian ulcer ultimate ultra umbrella unaware uncle unclear \
     undefined underground underlying underneath understand understood underwear underwriting undo uneasy unemployed unexpected unfair \
     unfinished unfit unfortunate uniform unify union unique unit unite universal universe unknown unless unlikely unlimited unload \
     unlock unlucky unnecessary unpaid unpleasant unplug unprofessional unreal unsigned unsure untidy unto unusual unwell update \
     upfront upgrade uphill upload upon upright ups upside upstairs uptime upwards urdu urge urine usage user username usps usual utter \
     vacancy vacant vacate vaccine vacuum vague valid validate valley value valve van vanguard vanilla vanish vape variant variety vary \
     vase vast vat vault vauxhall vegan vegetarian vehicle vein velvet vendor venmo vent venture venue verb verdict verify verizon \
     versatile verse versus vessel vet veteran via vibrate victim victory video vietnam vietnamese view villa village vin vine vinegar \
     vinyl violate violence violent virgin virtual virus visa vision visit visitor visual vital vitamin vivid vocabulary vodafone voice \
     voicemail void volcano volkswagen volleyball volt voltage volume voluntary volunteer volvo vomit vote voucher vow vowel waffle \
     wage waist waitrose waive wake walk walkway wall wallet wallpaper walmart walnut wander wanna war ward wardrobe warm warmth warn \
     warrant wash wasp waste watch water watergate watermelon waterproof waterside wave wax way weak wealth weapon wear weather web \
     webinar wed wee weed weekday weekend weep weigh weight weird weirdo welcome weld welfare welsh west western wet whale whatever \
     whatsapp wheat wheel wheelchair whenever whereas whereby wherever whether whichever whilst whip whisper whistle white whoa whoever \
     whole wholly whom wicked widget widow width wife wifi wig wild win wind window windscreen wine wing winter wipe wire wisdom wise \
     wish witch withdraw withdrawal withdrawn withhold within wizard woke wolf woman women won wonder wonky wood wooden wool word \
     wordle wore work workplace workshop world worldwide worm worn worse worship worst worth worthwhile wound wow wrap wreck wrist \
     write written wrote xbox xray yacht yahoo yard yarn yay yell yellow yield yikes yodel yoga yoghurt yogurt yorkshire young yourself \
     youth youtube yummy zebra zero zigzag zone zoo zoom zucchini"
);

/// What may end a word.
const ENDINGS: [(&str, &[&str]); 15] = [
    ("'s", &[""]),
    ("ies", &["y"]),
    ("ied", &["y"]),
    ("ily", &["y"]),
    ("ier", &["y"]),
    ("iest", &["y"]),
    ("es", &["", "e"]),
    ("s", &[""]),
    ("ed", &["", "e"]),
    ("ing", &["", "e"]),
    ("ers", &["", "e"]),
    ("er", &["", "e"]),
    ("est", &["", "e"]),
    ("ly", &["", "le"]),
    ("y", &["", "e"]),
];

/// Endings that hardly a name has.
const NO_ENDINGS: [&str; 29] = [
    "tion", "sion", "ness", "ment", "ments", "able", "ible", "ful", "less", "ous", "ive", "ity", "ism", "ology", "ical", "ings", "tions",
    "ating", "ated", "ition", "ably", "atic", "etic", "otic", "istic", "ectic", "phobic", "lexic", "ibly",
];

/// Whether it is an ordinary word, in any of its forms.
pub(super) fn is_ordinary(word: &str) -> bool {
    let stem = word.split('\'').next().unwrap_or(word);
    if is_base(word) || word.contains('\'') && stem.len() > 1 && is_base(stem) {
        return true;
    }
    let ends = |(ending, instead): &(&str, &[&str])| {
        let Some(stem) = word.strip_suffix(ending).filter(|stem| stem.len() > 1) else {
            return false;
        };
        // "Stopped" is "stop".
        let mut last = stem.chars().rev();
        let single = match (last.next(), last.next()) {
            (Some(a), Some(b)) if a == b => stem.strip_suffix(a),
            _ => None,
        };
        instead.iter().any(|more| is_base(&format!("{stem}{more}"))) || single.is_some_and(is_base)
    };
    ENDINGS.iter().any(ends)
}

fn is_base(word: &str) -> bool {
    let is_known = ORDINARY.has(word) || NO_NAMES.has(word) || REMARKS.has(word) || FILLERS.has(word) || PLACES.has(word) || RARE.has(word);
    is_known
        || NO_ENDINGS
            .iter()
            .any(|ending| word.len() > ending.len() + 2 && word.ends_with(ending))
}
