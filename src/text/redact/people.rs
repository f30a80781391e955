//! Names that people have, and words that are none.
//!
//! What it does not do: hold all of them; the lists are of the most usual. Who calls it: [`super::names`].

use super::lists::{List, list};

/// First names that are hardly ever another word.
pub(super) static FIRST: List = list!(
    "aaliyah aarav aaron abbie abby abdul abdullah abdullahi abdulrahman abena abi abigail abraham achieng ada adaeze adam adebayo \
     adela adele adeola aditya adrian adriana adwoa agatha agnes agnieszka ahmed aidan aiden aino aisha aishwarya akash akira akua \
     alan alana alastair albert alberto aldo alec alejandro aleksandr aleksei alessandra alessandro alessia alex alexander alexis \
     alfie alfred alfredo ali alice alicia alina alison alistair allison alma alun alvaro alyson alyssa amanda amara amarjit amelia \
     amelie amina aminata amit amparo amy analyn anand ananya anastasia anatoly anders andrea andreas andrei andrew andrzej angela \
     angelina angelo angharad anil anita anja anjali ann anna annabel annabelle anne annette annie annika annmarie anthony antoine \
     anton antonella antonia antonio antti aoife aparna apostolos arabella araceli araminta arantxa archie aria ariana arjun arlene \
     arlo armando arnel arnold arpita arthur arturo arun ashley ashok asif astrid attila aubrey audrey aurelie ava axel ayaan ayden \
     ayesha ayse babatunde balwinder barb barbara barry bartholomew beata beatrice beatriz becky belen belinda bella ben benjamin \
     benny benoit bernadette bernard bernd bernice bert bertha beryl bess bessie beth bethan bethany betsy betty beverly bhavesh \
     bhavna bianca bilal billy birgit bjorn bob bobbie bobby bogdan bonnie boris brad bradley brandi brandon brenda brendan brenton \
     brian bridget bridie brittany brody bronagh bronwyn bruce bruna bryan bryce bryn burak byron caio caitlin caleb callum calvin \
     camila camilla camille camilo candice carl carla carlo carlos carlton carmela carmen carol carole caroline carolyn carrie \
     carsten carwyn carys casper cassandra cassie catarina cath cathal catherine cathy catriona cecil cecilia cedric celeste celia \
     celina celine ceri cerys cesar chad chantal chantelle charlene charles charlie charlotte cheikh cherie cheryl chester chetan \
     chiara chidi chidinma chinua chioma chipo chloe chris christian christina christine christoph christopher chuy cian ciaran \
     cillian cindy claire clara clare clarence clarissa claude claudia clayton clementine cleo clifford clint clive clyde cody \
     colette colin colm colton conal concepcion connie connor conor constance consuelo cora cordelia corey cormac cory courtney \
     craig cressida crispin cuauhtemoc curtis cynthia cyril cyrus dafydd daljit damian damien damon dan danica daniel danielle danny \
     danuta daphne darcy darla darlene darnell darragh darren darryl darshan daryl dave davey david davina deanna debbie debora \
     deborah debra declan deepa deepak deepika deirdre delia della delores delphine delyth demarcus demetrius dena denis denise \
     dennis denny derek dermot deshawn desiree desmond dewi dexter dhruv diana diane dianne diarmuid didier diego dieter dimitri \
     dimitris dina dinah dionne divya dmitri dolores dominic dominique donal donald donna donnacha donnie dora doreen doris dorota \
     dorothea dorothy doug dougal douglas drusilla duncan dwayne dwight dylan eamon earline eddie edgar edith edmund edna eduarda \
     eduardo edward edwin edwina effie efua eileen eilidh eirlys elaine eleanor elena eleni eliana elias elif elijah elin elise \
     eliza elizabeth elke ella ellen ellie elliot elliott elodie eloise elsa elsie elton elvira elvis emanuel emeka emil emilia \
     emiliano emilie emilio emily emine emma emmanuel emmett emre emrys emyr encarna enid enrique enzo eoin eric erica erik erika \
     erin ernest ernesto esme esmeralda esperanza esteban estelle ester esther eszter ethan ethel etienne etta eugene eugenia eunice \
     euphemia eusebio eva evan evander evangeline evelina evelyn everett evie ewa ewan ezekiel ezra fabian fabien fabio fabiola \
     fabrice facundo faisal fallon farah farai farid farrah fatima fatma fatou federica federico felicia felicity felipe felix femi \
     ferenc fergal fergus fernando ffion fifi filipe finbar finlay finley finn fiona fionn flora florent florian florin flossie \
     floyd folake fran frances francesca francesco francis francisco franck francois frankie fred freda freddie frederic frederick \
     freja freya friedrich fritz gabby gabor gabriel gabriela gail galina ganesh gareth garrett gary gaurav gavin gaynor gemma \
     genevieve geoff geoffrey george georgina geraint gerald geraldine gerard gerhard gerry gertie gertrude gethin gheorghe gideon \
     gilbert gilles gillian gina ginny giorgia giorgos giovanni girish giselle giulia giuseppe gladys glen glenda glenn glenys \
     gloria godfrey gokhan gonzalo gopal gordon graciela graham grainne greg gregory greta gretchen griselda grzegorz guadalupe \
     guilherme guillermo gunnar gunther gurdeep gurpreet gus gustavo gwen gwendolyn gwenllian gwilym gwyneth hakan halina hamish \
     hamza hank hannah hannes harish harold harpreet harriet harrison harry haruki haruto harvey hassan hatice hayden haydn hayley \
     hazel heather hector heidi heike heinz helen helena helene helga helmut hema henrietta henrik henry herbert heriberto herman \
     hermione hernan herve hester hettie hetty hilary hilda hiro hiroshi hitesh holger horace horatio horst howard huda hugh hugo \
     humphrey huong hussein huw hyun iago iain ian ibrahim ibrahima ida idris ieuan ifan ifeoma ignacia ignacio ignatius igor \
     ikechukwu ilaria ildiko imani imelda imogen imran inaki indira ines ingo ingrid ioana iolo iona ionut irene irfan irina irma \
     irving isaac isabel isabella isabelle isadora isaiah ishaan isla ismael ismail istvan itzel itziar ivan ivor iwan jaber jacek \
     jacinta jack jackie jacob jacqueline jacques jaden jagdish jaime jake jamal jamarcus james jamie jamil jamila jana jane janelle \
     janet janice janine janusz jared jarrod jarvis jasmeet jasmin jasmine jason jaswinder jatin javier jaya jayden jayne jean \
     jeanette jeannie jeb jed jeff jeffrey jem jemima jen jenna jennie jennifer jenny jens jeremiah jeremy jermaine jerome jerry \
     jerzy jess jesse jessica jessie jesus jethro jhun jignesh jiho jill jillian jim jimena jimmy jo joan joann joanna joanne joao \
     joaquim joaquin jocelyn jochen jody joe joel joey johan johanna johannes john johnny jolene jomar jon jonah jonas jonathan \
     jonathon joni jonny jordan jordi jorg jorge jorgen jorja jose josef josefa josefina joseph josephine joshua josiah josie \
     jovelyn joyce juan juanita judah judd jude judi judith judson judy jukka jules julian juliana julie julien juliet julio julius \
     jurgen justin justine justyna jutta jyoti kacey kaden kai kaisa kaitlyn kamal kamau kamil kamran kaori kara karan kareem karen \
     karim karima karin karina karl karla kasey kat katalin katarina kate katerina katherine kathleen kathryn kathy katie katja \
     katrin katy kavita kayla kaylee kayleigh keeley keiko keira keisha keith kelechi kellan kellie kelly kelsey kelvin kemi ken \
     kendall kendra kenji kenneth keri kerry kev kevin keyshawn khadija khalid kian kieran killian kimberley kimberly kipchoge kiran \
     kirk kirsten kirsty klara klaus kofi kojo kostas kourtney krishna kristen kristin kristina kristy krystal krzysztof ksenia \
     kuldeep kunal kurt kwame kwesi kyla kyle kyra lachlan laetitia laia laila lakshmi lalit lamar lana larisa larissa larry lars \
     lashonda laszlo lata latasha latifa latisha latoya laura laurel lauren laurence laurent laurie laverne lavinia lawrence layla \
     leah leandro leann leanna leanne leela leif leila leland lena lenny leo leon leona leonard leonardo leonora leopold lerato \
     leroy lesley lester leszek leticia letitia levente levi lewis lexi liam lidia lila lillian lina linda lindsay lindsey linh \
     linus lionel lisa livia liz lloyd logan lois lola lorcan lorenzo loretta lori lorna lorraine lothar lottie lou louie louis \
     louisa louise lowri luc luca lucas lucia lucian luciano lucie lucila lucille lucy ludmila luigi luis luisa luiza lukas lukasz \
     luke lulu lupe luther lydia lyla lyle lynda lynette mabel macarena maciej mackenzie maddie madeleine madeline madhu madison mae \
     maeve magda magdalena maggie magnus mahendra mahesh mahmoud maia mair mairead mairi maisie maite makayla malachy malcolm \
     malgorzata malik mallory mamadou mandla mandy manfred manish manjit manny manoj mansour manuel manuela marcel marcela marcia \
     marco marcos marcus marcy marek margaret margarethe margarita margery margo margot marguerite maria mariah mariam marian \
     mariana marianna marianne maribel maricel marie mariko marilyn marina mario marisa marisol marissa marius marjorie marla \
     marlene marlon marnie marsha marshall marta martha martin martina marty marvin mary maryam maryann marybeth massimo mateo \
     mateus mateusz mathieu matilda matt matteo matthew matthias matti mattia mattie maud maude maura maureen maurice mauricio mauro \
     mavis maxim maxime maximilian maximo maximus maxine maya mckenzie meena megan mehmet mehul mei meinir melanie melinda melissa \
     melvin menna meredith merle merv mervyn mette meurig mia micah michael michal micheal michelle mickey micky miguel mihai mikael \
     mike mikhail mikko mila mildred millie milly milton mimi mina mindy minerva minjun minnie miranda miriam mitch mitchell mitzi \
     moe mohamed mohammed mohan moira mollie molly mona monica monique montse monty morag mordecai morgan moritz mostafa moussa \
     muhammad mukesh mukul murat muriel mustafa mwangi myra myron myrtle nabil nabila nacho nadege nadia nadine naledi nancy nandini \
     nanette naoko naomi naresh nasreen nasser natalia natalie natasha nate nathalie nathan nattapong naveed naveen navjot neal ned \
     neeraj neha neil nell nellie nelson nerea nesta nettie neve ngozi nguyen niamh nicanor nicholas nick nicky nicola nicolas \
     nicole nicolo nigel nigella nikhil nikita nikki nikolai nikos nilesh nils nina nisha nitin njoroge nkechi noah noel noelle nola \
     nolan nomsa nora norbert noreen norma norman nour nuala nuria obinna octavia odette odin oisin oksana olga oliver olivia \
     olivier ollie oluwaseun olwen omar omari oriol orla orson osama oscar oswald otieno otis ottilie otto oumar ousmane owain owen \
     pablo paco padraig paige paloma pamela pankaj paola paolo paramjit paresh parth pascal pascale patrice patricia patrick patsy \
     patti patty paudie paul paula paulette paulina pauline paulo pavel pawel payton pedro peggy pekka penelope percival percy perry \
     pete peter petra phil philip philippa philippe phillip philomena phineas phoebe phuong phyllis pierre piers pilar piotr polly \
     pooja poppy portia pradeep prakash pranav prashant preeti priti priya proinsias przemek qasim quentin quincy quinn rachel rae \
     rafa rafael rafaela rafal raffaele raghav raheem rahul raimundo rainer raj rajan rajesh rajiv rakesh ralf ralph ramesh rami \
     ramiro ramon ramona randall randi randolph randy rania ranjit raphael raquel rashad rashid rashida rashmi rasmus raul ravi \
     rayan raymond rebecca rebekah reem refugio reggie regina reginald rehan reid reinhard remi rena renata renate renee reuben \
     rhett rhian rhiannon rhoda rhodri rhonda rhys ricardo riccardo richard ricky rico rigoberto rik riley rita ritu rob robert \
     roberta roberto robin robyn rocco rochelle rocio roddy rodel roderick rodney rodolfo rodrigo roger rohan rohit roisin roland \
     rolando rolf romain romy ron ronald ronnie rory rosa rosalie rosalind rosamund rosanne roscoe roseanne rosemary rosetta rosie \
     roslyn rowan rowena roxanne roy ruairi ruben rudy rufus rupert russell rutendo ruth ruthie ryan ryszard sabine sabrina sachin \
     sadie saeed safiya saira sakura salim sally salma salome salvador salvatore sam samantha sameer sami samir samira sammy samuel \
     sandeep sandra sanjana sanjay sanjeev sanjiv santi santiago saoirse sara sarah sarita sasha saskia satoshi saul savannah scott \
     seamus sean seb sebastian sebastien seema segun selena selina selma seraphina serena sergei sergio serkan seth seung severine \
     seydou shaheen shahid shane shania shanice shaniqua shannon shanti sharon shaun shauna shawn shay sheena sheila shelby sheldon \
     shelley shelly sheridan sherri sherry shilpa shirley shreya shweta shyam sian sid siddharth sidney sienna sigmund sigrid silas \
     silvia silvio simeon simon simona simone simran sinead siobhan sioned sipho siriporn skye skylar slawomir sneha socorro sofia \
     sofie solene solomon solveig somchai sonal sonia sonya sophia sophie soraya sorcha soren spencer spiros stacey stacie stacy \
     stan stanislaw stanley stavros stefan stefania stefano steffen stella stephan stephane stephanie stephen steve steven stevie \
     stewart stuart sudhir sue sukhdeep sumit sunil sunita suraj suresh susan susanna susanne sushma suzanne suzy sven svetlana \
     swati sybil sylvain sylvester sylvia sylvie tabatha tabitha tadeusz tadhg takeshi talia tamara tamer tamika tammi tammy tamsin \
     tania tanisha tanmay tanvi tanya tara tariq tasha tatenda tatiana tatum tatyana ted teddy tegan temitope tendai terence teresa \
     teri terrance terrence terry tess tessa thabo thaddeus thanh thea thelma theo theodora theodore theodoros theresa thiago \
     thibault thierry thomas thorsten tia tiffany tilly tim timmy timothy tina tobias toby todd tolu tom tomas tomasz tommy tomos \
     toni tony tonya torsten tracey tracy trayvon trent trenton trevon trevor trina trisha tristan trudie trudy tuan tunde tyler \
     tyrell tyrese tyrone uche uday ulrich ulrike ultan ulysses uma una uriah ursula urszula usha usman uwe vadim valentin valentina \
     valeria valerie vanessa varsha varun vasiliki vaughn venkat vera verity verna vernon veronica veronique vicente vicki vicky \
     victor victoria vidya vijay vijaya vikas vikram viktor vinay vince vincent vincenzo vinod viola virgil virginie vishal vivek \
     vivian viviana vivien vivienne vladimir vladislav volker waleed walid wallace wally walter wambui wanda wanjiru waqar warren \
     wayne wei wendell wendy werner wesley whitney wilbert wilbur wilf wilfred wilhelm wilhelmina william willie wilma winifred \
     winnie winston wojciech wolfgang wyatt xander xavier xiao ximena xochitl yaa yadira yael yago yannick yannis yash yasir yasmeen \
     yasmin yasmine yelena yemi yesenia yevgeny yogesh yoko yolanda youssef yuki yuko yuri yusra yusuf yves yvette yvonne zac zach \
     zachariah zachary zack zahid zahra zainab zak zane zanele zara zbigniew zelda zena zeynep ziad zita ziyad zoe zoey zofia zola \
     zoltan zoya zsuzsanna zubair zuri"
);

/// Last names that are hardly ever another word.
pub(super) static LAST: List = list!(
    "adams ahmed ali allen alvarez anderson bailey baker begum bennett brown campbell carter castillo chavez chen clark collins \
     cooper cruz davies davis diaz edwards evans fischer fitzgerald flores foster garcia gomez gonzalez gutierrez harris henderson \
     hernandez howard huang hughes hussain ivanov jackson jimenez johnson johnston jones kaur kelly khan kim kowalski lee lewis liu \
     lopez macdonald martin martinez mccarthy mcdonald mendoza miller mitchell moore morales morgan morris muller murphy myers \
     nelson nguyen novak o'brien o'connor o'neill o'sullivan ortiz parker patel perez peterson petrov phillips ramirez ramos reed \
     reyes richardson rivera roberts robinson rodriguez rogers ruiz sanchez sanders schmidt schneider shah singh smith stewart \
     suzuki tanaka taylor thatcher thomas thompson torres turner wagner wang watson weber williams wilson wojcik wright yamamoto \
     yang zhang"
);

/// Words that are no names, though what announces one stands before; and no streets, though a number stands before.
pub(super) static NO_NAMES: List = list!(
    "details info information terms basis a able about absolutely account across actually address advisor afraid after again against \
     age agent ago all along already also always am an and any anybody anyone anything are around as asking at attached available \
     aware away awful back bad bank be because becoming been before behalf behind being beside between beyond big bill billing bills \
     birth birthday bit booking born both branch breakfast broadband broken busy but by call called calling can can't cannot capital \
     car card cardholder cars case cents change changed charge charged cheap city clients code collection come companies company \
     completely concerned confused construction contract correct costing could couldn't county customer customers cvv damaged dash \
     date day days delivery department did didn't different dinner dirty disgusting do dob doctor does doesn't dollars don't dot \
     double down driving due during e-mail each early either else email er euros every everybody everyone everything excellent \
     expensive expired expires expiry extremely family fantastic far fast faulty few file fine first for forename free friday from \
     frustrated full get getting give glad go going gonna good got great had happy hardly has hasn't have haven't having he he'd \
     he's hello help her here hers him his holder home horrendous horrible hour hours how however hyphen i i'd i'll i'm i've if \
     important in incorrect initial inside insurance interested internet into is isn't it it'd it'll it's its just kind know large \
     last late least left less let letter letters like line listed little live lives living long looking lot lovely lunch making \
     management manager many married maybe me middle mile miles mine minute minutes miss missing misspelled mister monday month \
     months more most mostly moved mr mrs ms much my name name's names near nearby need needs never new next nice no nobody nor \
     normally not nothing now number nurse of off office often ok okay old on once one only operator opposite or order other our \
     ours out outrageous outside over password past payment payments people people's percent person phone pin please policy poor \
     possible postcode pounds pressure pretty probably put quite rather ready really record records reference regarding regards \
     repair representative reservation review ridiculous right said sales same saturday saying says security see serious several she \
     she'd she's shop short should sick since site sitting slow small so social some somebody someone something sometimes sorry sort \
     speak speaking spell spelled spelling spelt spoke spouse staff standing state statement still stop store stress sunday \
     supervisor support supposed sure surname system taken taking talking team technical television tell terrible than thank thanks \
     that that'd that's the their them then there there's these they they'd they're they've thing things this those though three \
     through thursday tied till time to today told tomorrow tonight too totally towards tried triple trying tuesday turn turned tv \
     twice two uh um unable unacceptable unavailable under underscore unhappy until up upset urgent us use used uses using usually \
     very wait waiting want wanted wanting wants warehouse warranty was wasn't we we'd we'll we're we've website wednesday week \
     weeks well went were what what's when where where's which while who who's whose why wide wifi will with without won't worked \
     working works worried would wouldn't wrong yeah year years yep yes yesterday yet you you'd you'll you're you've your yours zip"
);

/// Whether it is one of the most usual names, or begins like one.
pub(super) fn is_known(word: &str) -> bool {
    let begins = |start: &str| {
        word.strip_prefix(start)
            .is_some_and(|rest| rest.chars().count() > 3 && rest != "clock")
    };
    FIRST.has(word) || LAST.has(word) || begins("o'") || begins("mc") || begins("o\u{2019}")
}

/// Names that are mostly other words: only right behind what announces a name for certain, or where one introduces oneself.
pub(super) static RARE: List = list!(
    "will may mark grace april june august rose bill art frank hope joy faith drew pat rich chase grant dean miles guy case dawn \
     amber ruby crystal jade lily daisy ivy violet iris pearl summer autumn hunter mason carter cooper tanner sawyer parker brooke \
     page heath dale cliff rusty duke earl max jay ray gene norm sandy misty penny holly ginger olive sage basil angel dusty lance \
     jasper king star don val sal charity destiny trinity harmony melody cherry brandy candy cookie buddy ace precious blossom"
);
