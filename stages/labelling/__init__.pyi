from .asking import ask as ask
from .png import picture as picture
from .question import Labeller as Labeller, LabelQuestion as LabelQuestion
